using System.Globalization;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>What a row sees: the first slots and the last ones, its own included. <c>default</c>: everything before it.</summary>
/// <param name="Sinks">First slots that every row sees.</param>
/// <param name="Window">Last slots that a row sees, its own included; 0 = no mask.</param>
/// <param name="SinkPositionCap">A query meets the sinks as if it stood at this position, once it stands behind it; 0 = where it stands.</param>
public readonly record struct KvMask(int Sinks, int Window, int SinkPositionCap)
{
    /// <summary>Every row sees everything before it.</summary>
    public bool IsNone => Window == 0;

    /// <summary>What tells content computed under this mask from other content; empty without a mask.</summary>
    public string Content =>
        IsNone ? "" : string.Create(CultureInfo.InvariantCulture, $"sinks {Sinks}, window {Window}, cap {SinkPositionCap}");

    /// <summary>Most prompt tokens of one step, so that memory stays bounded; unbounded without a mask.</summary>
    public int ChunkTokens(int blockSize) => IsNone ? int.MaxValue : Math.Max(blockSize, Window);

    /// <summary>The same while others wait for the blocks that a long chunk holds besides the window: chunking changes no bit.</summary>
    public int CrowdedChunkTokens(int blockSize) => IsNone ? int.MaxValue : Math.Max(blockSize, Window / 4 / blockSize * blockSize);

    /// <summary>Blocks of one group that a sequence holds at most once its prompt is computed, however long it grows.</summary>
    public int SteadyBlocks(int blockSize) => IsNone ? int.MaxValue : Blocks(Sinks, blockSize) + (Window + blockSize - 2) / blockSize + 1;

    /// <summary>Blocks of one group, at most, that a sequence of <paramref name="tokens"/> ever holds.</summary>
    public int PeakBlocks(int tokens, int blockSize)
    {
        int all = Blocks(tokens, blockSize);
        // Sinks, the window and a chunk; the window may begin inside a block, and the chunk may end inside one.
        return IsNone ? all : Math.Min(all, Blocks(Sinks, blockSize) + Blocks(Window + ChunkTokens(blockSize), blockSize) + 1);
    }

    private static int Blocks(int tokens, int blockSize) => (int)(((long)tokens + blockSize - 1) / blockSize);
}
