using System.Diagnostics;
using InferenceService.Compute.Cpu.Kernels;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>How fast the kernels of packed weights are by themselves, when a tile of x and a panel are in the caches.</summary>
public static unsafe class TileSpeed
{
    private struct Job
    {
        public TileArguments Tile;
        public nint Generated;
        public delegate*<TileArguments*, void> Compiled;
        public float* Scratch;
        public int Ticket, Calls;
    }

    /// <summary>Most rows of a tile, in the backend's family.</summary>
    public static int MaxRows(CpuBackend backend, WeightFormat format)
    {
        ArgumentNullException.ThrowIfNull(backend);
        return backend.Host.Generated(format)?.Length ?? CompiledTile.Rows;
    }

    /// <summary>Operations per second (a product and its sum count two) of all the backend's threads, best of many short passes.</summary>
    /// <param name="format">A packed format.</param>
    /// <param name="rows">Rows of x, 1 to <see cref="MaxRows"/>.</param>
    /// <param name="columns">Depth, a multiple of 32.</param>
    public static double Measure(CpuBackend backend, WeightFormat format, int rows, int columns = 2048)
    {
        const int Passes = 300, Calls = 16;
        ArgumentOutOfRangeException.ThrowIfEqual((int)format, (int)WeightFormat.Stored);
        ArgumentOutOfRangeException.ThrowIfNotEqual(columns % WeightLayout.GroupColumns, 0);
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, MaxRows(backend, format));
        KernelHost host = backend.Host;
        using var x = new HostBuffer(rows * WeightLayout.TileRowBytes(format, columns));
        using var panel = new HostBuffer(WeightLayout.PanelBytes(format, columns));
        long best = long.MaxValue;
        for (int pass = 0; pass < Passes; pass++)
        {
            var job = new Job
            {
                Generated = host.Generated(format)?[rows - 1] ?? 0,
                Compiled = WeightMatMul.Compiled(host.Kernels, format),
                Scratch = host.Scratch(2 * TileRounding.MaxRows * WeightLayout.PanelRows),
                Calls = Calls * host.Workers,
                Tile = new TileArguments
                {
                    X = (byte*)x.Address,
                    Weight = (byte*)panel.Address,
                    OutputStride = WeightLayout.PanelRows * sizeof(float),
                    Columns = columns,
                    Ahead = (byte*)panel.Address,
                    Rows = rows,
                },
            };
            long start = Stopwatch.GetTimestamp();
            host.Run(&Work, &job, long.MaxValue);
            best = Math.Min(best, Stopwatch.GetTimestamp() - start);
        }

        return 2.0 * rows * WeightLayout.PanelRows * columns * Calls * host.Workers * Stopwatch.Frequency / best;
    }

    private static void Work(void* state, int worker)
    {
        ref Job job = ref *(Job*)state;
        TileArguments tile = job.Tile;
        tile.Sums = job.Scratch + (long)worker * 2 * TileRounding.MaxRows * WeightLayout.PanelRows;
        tile.Output = tile.Sums + TileRounding.MaxRows * WeightLayout.PanelRows;
        while (Tickets.Take(ref job.Ticket, 1) < job.Calls)
        {
            if (job.Generated != 0)
                ((delegate* unmanaged[SuppressGCTransition]<TileArguments*, void>)job.Generated)(&tile);
            else
                job.Compiled(&tile);
        }
    }
}
