using System.Runtime.InteropServices;

namespace InferenceService.Fuzz.Coverage;

/// <summary>What all inputs so far have reached: for every block, how often one input ran it, in eight classes (1, 2, 3, 4+, 8+, 16+, 32+, 128+).</summary>
internal sealed class CoverageMap(int blocks)
{
    private static readonly byte[] ClassOf = [.. Enumerable.Range(0, 256).Select(Class)];

    private readonly int _length = (blocks + 7) / 8 * 8;
    private readonly byte[] _seen = new byte[(blocks + 7) / 8 * 8];

    /// <summary>Blocks reached at least once.</summary>
    public int Reached { get; private set; }

    /// <summary>Instrumented blocks.</summary>
    public int Blocks => blocks;

    /// <summary>Takes in what ran since the last call.</summary>
    /// <returns>Block and class pairs that no input had reached before.</returns>
    public int TakeNew()
    {
        int found = 0;
        ReadOnlySpan<byte> counts = BlockCounts.First(_length);
        ReadOnlySpan<ulong> eights = MemoryMarshal.Cast<byte, ulong>(counts);
        for (int i = 0; i < eights.Length; i++)
        {
            if (eights[i] == 0)
                continue;
            for (int block = i * 8; block < (i * 8) + 8; block++)
            {
                int fresh = ClassOf[counts[block]] & ~_seen[block];
                if (fresh == 0)
                    continue;
                if (_seen[block] == 0)
                    Reached++;
                _seen[block] |= (byte)fresh;
                found++;
            }
        }

        return found;
    }

    private static byte Class(int count) => count switch
    {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        < 8 => 8,
        < 16 => 16,
        < 32 => 32,
        < 128 => 64,
        _ => 128,
    };
}
