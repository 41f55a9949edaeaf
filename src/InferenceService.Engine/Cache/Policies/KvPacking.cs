using InferenceService.Compute;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>How a sequence's K and V are quantised once they are old enough (KIVI, arXiv:2402.02750). <c>default</c>: not at all.</summary>
/// <remarks>
/// The prompt is computed in full precision. Then, and after every token, each block whose slots are all live and all lie before the last
/// <see cref="Residual"/> becomes a packed child, K and V together. What a token says so depends on its position behind the prompt alone.
/// Deviation: the reference flushes K every residual tokens, so that its newest keys may be quantised already, and V token by token; here
/// both keep the last <see cref="Residual"/> to <see cref="Residual"/> + block size − 1 tokens exact, never fewer.
/// </remarks>
/// <param name="Bits">4 or 8, as the pool was made for; 0 = everything stays as computed.</param>
/// <param name="Residual">Last tokens that stay exact; a multiple of 32.</param>
public readonly record struct KvPacking(int Bits, int Residual = KvBlockFormat.PackedGroup)
{
    /// <summary>Nothing is quantised.</summary>
    public bool IsNone => Bits == 0;
}
