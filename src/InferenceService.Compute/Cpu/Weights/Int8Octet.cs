using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounds a run of eight rows to <see cref="WeightFormat.Int8"/> as <see cref="SignedBytes"/> rounds x.</summary>
internal static unsafe class Int8Octet
{
    /// <summary>Writes count / 4 steps of words, then the scales.</summary>
    /// <param name="columns">Columns of the octet.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static WeightError Round(float* columns, int count, uint* words)
    {
        Vector256<uint> largest = Vector256<uint>.Zero;
        for (nint c = 0; c < count; c++)
            largest = Vector256.Max(largest, Vector256.Load((uint*)columns + 8 * c) & Vector256.Create(0x7FFFFFFFu));
        Vector256<float> usable = Octet.Scalable(largest);
        Vector256<float> inverse = (Vector256.Create(127f) / largest.AsSingle()) & usable;
        Vector256<float> scale = Vector256.ConditionalSelect(usable, largest.AsSingle() / Vector256.Create(127f), Octet.Unscalable(largest));
        Vector256<float> step = scale & usable, lost = Vector256<float>.Zero, total = lost;
        for (nint c = 0; c < count; c += 4)
        {
            Vector256<uint> word = Vector256<uint>.Zero;
            for (int i = 0; i < 4; i++)
            {
                Vector256<float> value = Vector256.Load(columns + 8 * (c + i)) & usable, code = Vector256.Round(value * inverse);
                Vector256<float> difference = value - code * step;
                lost += difference * difference;
                total += value * value;
                word |= ((Vector256.ConvertToInt32Native(code) + Vector256.Create(128)).AsUInt32()) << (8 * i);
            }

            word.Store(words);
            words += Octet.Rows;
        }

        scale.Store((float*)words);
        return new WeightError(Vector256.Sum(lost), Vector256.Sum(total));
    }
}
