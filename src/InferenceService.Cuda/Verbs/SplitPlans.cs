using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>How steps of several sequences divide their work between CTAs, found out on the device by Kernels/splits.cu.</summary>
/// <remarks>
/// The keys of single rows are divided by length: chunks of 256 slots go to a lane's splits in turn, and a lane has as many as its share of all
/// chunks is worth, so that every lane is covered once, by at most lanes + target CTAs, and none works much longer than the others. Where prompts
/// stand beside single rows, their tiles of rows are listed too. A plan holds for all layers that read the same tables, until something is uploaded,
/// recorded or replayed.
/// </remarks>
internal sealed class SplitPlans(CudaStream stream, KernelSet kernels, DeviceMemory memory, int multiprocessors)
{
    /// <summary>Most splits of a lane.</summary>
    public const int MostSplits = 32;

    private const int Threads = 256, Head = 4; // Kernels/splits.cu; words before the lists

    private Tensor _plan, _tiles;
    private Key? _known;

    /// <summary>CTAs that fill the device.</summary>
    public int Target { get; } = 2 * multiprocessors;

    /// <summary>Forgets what is planned: tables may have changed.</summary>
    public void Invalidate() => _known = null;

    /// <summary>Most items of a plan: the grid of the kernel that follows it.</summary>
    public long MostItems(in KvBatch batch, int kvHeads) => (long)batch.Sequences * kvHeads + Target;

    /// <summary>Most tiles of rows.</summary>
    public static long MostTiles(in KvBatch batch, int rows, int rowsPerTile) => batch.Sequences + rows / rowsPerTile;

    /// <summary>Plans, if that has not been done.</summary>
    /// <param name="cache">What kernels are given.</param>
    /// <param name="most">Rows of a sequence up to which its lanes are planned; 0 = none are.</param>
    /// <param name="least">Rows of a sequence from which on its tiles are listed.</param>
    /// <param name="rowsPerTile">Of those sequences, 0 = none are listed.</param>
    /// <returns>Addresses of the plan and of the tiles; 0 for what was not wanted.</returns>
    public (ulong Plan, ulong Tiles) Make(in CacheArguments cache, in KvBatch batch, int most, int least, int rowsPerTile)
    {
        var key = new Key(
            cache.Groups, cache.RowStarts, batch.GroupsPerSequence == 1 ? 0 : cache.LaneGroup, cache.Sequences, cache.GroupsPerSequence, cache.KvHeads, cache.Rows, cache.Window,
            cache.ExcludeSelf, most, least, rowsPerTile);
        if (_known != key)
        {
            if (most > 0)
                Reserve(ref _plan, Head + 2L * cache.Sequences * cache.KvHeads + MostItems(batch, cache.KvHeads));
            if (rowsPerTile > 0)
                Reserve(ref _tiles, Head + 2 * MostTiles(batch, cache.Rows, rowsPerTile));
            var arguments = new PlanArguments
            {
                Cache = cache,
                Plan = most > 0 ? CudaBackend.Address(_plan) : 0,
                Tiles = rowsPerTile > 0 ? CudaBackend.Address(_tiles) : 0,
                Target = Target,
                Most = most,
                MostSplits = MostSplits,
                Least = least,
                RowsPerTile = Math.Max(1, rowsPerTile),
            };
            kernels.PlanSplits.Launch(stream, arguments, (1, 1, 1), Threads);
            _known = key;
        }

        return (most > 0 ? CudaBackend.Address(_plan) : 0, rowsPerTile > 0 ? CudaBackend.Address(_tiles) : 0);
    }

    // Recorded steps keep the address of a smaller one.
    private void Reserve(ref Tensor list, long words)
    {
        if (list.Columns < words)
            list = memory.Take(DType.I32, 1, checked((int)Math.Max(words, 2L * list.Columns)));
    }

    private readonly record struct Key(
        ulong Groups, ulong RowStarts, ulong LaneGroup, int Sequences, int GroupsPerSequence, int KvHeads, int Rows, int Window, int ExcludeSelf, int Most, int Least, int RowsPerTile);
}
