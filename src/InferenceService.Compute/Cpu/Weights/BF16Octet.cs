using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounds a run of eight rows to <see cref="WeightFormat.BF16"/>.</summary>
internal static unsafe class BF16Octet
{
    /// <summary>Writes count / 2 steps of words.</summary>
    /// <param name="columns">Columns of the octet; <paramref name="count"/> is even.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static WeightError Round(float* columns, int count, uint* words)
    {
        Vector256<float> lost = Vector256<float>.Zero, total = lost;
        for (nint c = 0; c < count; c += 2, columns += 2 * Octet.Rows, words += Octet.Rows)
        {
            Vector256<float> even = Vector256.Load(columns), odd = Vector256.Load(columns + Octet.Rows);
            Vector256<uint> low = BFloat16.Round(even), high = BFloat16.Round(odd) << 16;
            Vector256<float> evenLost = even - (low << 16).AsSingle(), oddLost = odd - high.AsSingle();
            lost += evenLost * evenLost + oddLost * oddLost;
            total += even * even + odd * odd;
            (low | high).Store(words);
        }

        return new WeightError(Vector256.Sum(lost), Vector256.Sum(total));
    }
}
