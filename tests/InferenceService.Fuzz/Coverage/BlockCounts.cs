namespace InferenceService.Fuzz.Coverage;

/// <summary>How often each block of instrumented code ran since the last <see cref="Clear"/>. Instrumented assemblies call <see cref="Hit"/>.</summary>
public static class BlockCounts
{
    /// <summary>Blocks that there is room for.</summary>
    public const int Capacity = 1 << 16;

    private static readonly byte[] Counts = new byte[Capacity];
    private static long _work;

    /// <summary>Blocks executed: time that does not depend on the machine. Zero where nothing is instrumented.</summary>
    internal static long Work => _work;

    /// <summary>Counts one execution of a block.</summary>
    public static void Hit(int block)
    {
        Counts[block]++;
        _work++;
    }

    /// <summary>The counts of the first so many blocks.</summary>
    internal static ReadOnlySpan<byte> First(int blocks) => Counts.AsSpan(0, blocks);

    /// <summary>Forgets all.</summary>
    internal static void Clear(int blocks)
    {
        Counts.AsSpan(0, blocks).Clear();
        _work = 0;
    }
}
