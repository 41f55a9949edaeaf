using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Engine.Sampling;

/// <summary>Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).</summary>
/// <remarks>
/// A pure function of key and counter, so a number depends on the seed, the position and the token id alone: never on the batch, on
/// the order of evaluation or on the device. Of 32 consecutive ids, id i takes word (i / 8) % 4 of block i / 32 · 8 + i % 8, so that
/// eight blocks computed side by side give 32 neighbours.
/// </remarks>
internal static class Philox
{
    private const uint Multiplier0 = 0xD2511F53;
    private const uint Multiplier1 = 0xCD9E8D57;
    private const uint Weyl0 = 0x9E3779B9;
    private const uint Weyl1 = 0xBB67AE85;
    private const int Rounds = 10;

    /// <summary>Four random words.</summary>
    public static Words Next(ulong key, uint counter0, uint counter1, uint counter2 = 0, uint counter3 = 0)
    {
        uint key0 = (uint)key, key1 = (uint)(key >> 32);
        for (int round = 0; round < Rounds; round++)
        {
            ulong product0 = (ulong)Multiplier0 * counter0, product1 = (ulong)Multiplier1 * counter2;
            (counter0, counter1, counter2, counter3) =
                ((uint)(product1 >> 32) ^ counter1 ^ key0, (uint)product1, (uint)(product0 >> 32) ^ counter3 ^ key1, (uint)product0);
            key0 += Weyl0;
            key1 += Weyl1;
        }

        return new Words(counter0, counter1, counter2, counter3);
    }

    /// <summary>The word of one token at one position.</summary>
    public static uint Word(ulong key, int position, int token)
    {
        Words words = Next(key, ((uint)token >> 5 << 3) | ((uint)token & 7), (uint)position);
        return (token >> 3 & 3) switch { 0 => words.W0, 1 => words.W1, 2 => words.W2, _ => words.W3 };
    }

    /// <summary>The words of 32 neighbours: <c>W0</c> holds those of ids token .. token + 7, <c>W1</c> the next eight, and so on.</summary>
    /// <param name="key">Seed.</param>
    /// <param name="position">Position.</param>
    /// <param name="token">A multiple of 32.</param>
    /// <remarks>Only where <see cref="Avx2.IsSupported"/>.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (Vector256<uint> W0, Vector256<uint> W1, Vector256<uint> W2, Vector256<uint> W3) Next32(ulong key, int position, int token)
    {
        Vector256<uint> counter0 = Vector256.Create((uint)token >> 2) + Vector256<uint>.Indices;
        Vector256<uint> counter1 = Vector256.Create((uint)position), counter2 = Vector256<uint>.Zero, counter3 = Vector256<uint>.Zero;
        Vector256<uint> multiplier0 = Vector256.Create(Multiplier0), multiplier1 = Vector256.Create(Multiplier1);
        uint key0 = (uint)key, key1 = (uint)(key >> 32);
        for (int round = 0; round < Rounds; round++)
        {
            (Vector256<uint> high0, Vector256<uint> low0) = Multiply(counter0, multiplier0);
            (Vector256<uint> high1, Vector256<uint> low1) = Multiply(counter2, multiplier1);
            counter0 = high1 ^ counter1 ^ Vector256.Create(key0);
            counter1 = low1;
            counter2 = high0 ^ counter3 ^ Vector256.Create(key1);
            counter3 = low0;
            key0 += Weyl0;
            key1 += Weyl1;
        }

        return (counter0, counter1, counter2, counter3);
    }

    /// <summary>High and low halves of eight 32 × 32 bit products.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<uint> High, Vector256<uint> Low) Multiply(Vector256<uint> a, Vector256<uint> b)
    {
        const byte oddsFromHigh = 0b1010_1010;
        Vector256<ulong> even = Avx2.Multiply(a, b);
        Vector256<ulong> odd = Avx2.Multiply((a.AsUInt64() >>> 32).AsUInt32(), b);
        Vector256<uint> high = Avx2.Blend((even >>> 32).AsUInt32(), odd.AsUInt32(), oddsFromHigh);
        Vector256<uint> low = Avx2.Blend(even.AsUInt32(), (odd << 32).AsUInt32(), oddsFromHigh);
        return (high, low);
    }

    /// <summary>One output block.</summary>
    internal readonly record struct Words(uint W0, uint W1, uint W2, uint W3);
}
