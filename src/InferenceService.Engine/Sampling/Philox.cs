using System.Runtime.CompilerServices;

namespace InferenceService.Engine.Sampling;

/// <summary>Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).</summary>
/// <remarks>
/// A pure function of key and counter, so a number depends on the seed, the position and the token id alone: never on the batch, on
/// the order of evaluation or on the device.
/// </remarks>
internal static class Philox
{
    private const uint Multiplier0 = 0xD2511F53;
    private const uint Multiplier1 = 0xCD9E8D57;
    private const uint Weyl0 = 0x9E3779B9;
    private const uint Weyl1 = 0xBB67AE85;
    private const int Rounds = 10;

    /// <summary>Four random words.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
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

    /// <summary>The word of one token at one position: counter (token / 4, position), word token % 4.</summary>
    public static uint Word(ulong key, int position, int token)
    {
        Words words = Next(key, (uint)token >> 2, (uint)position);
        return (token & 3) switch { 0 => words.W0, 1 => words.W1, 2 => words.W2, _ => words.W3 };
    }

    /// <summary>One output block.</summary>
    internal readonly record struct Words(uint W0, uint W1, uint W2, uint W3);
}
