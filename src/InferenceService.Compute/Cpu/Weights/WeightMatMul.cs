using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Kernels;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>output = x · weightᵀ for a packed weight.</summary>
/// <remarks>
/// x is rounded into tiles first (<see cref="TileRounding"/>): by the caller alone when it is small, since a barrier costs as much. Then panels
/// are handed out by tickets; all tiles of x go over a panel while it is in L2, so a batch reads the weight from memory once. More rows
/// than L2 holds are taken in blocks: each reads the weight again, but fetches the next panel while it works on one. How it is divided
/// changes no bits: a tile kernel computes each row by itself, over the whole depth.
/// </remarks>
internal static unsafe class WeightMatMul
{
    /// <summary>From this many elements on, x is rounded by all threads.</summary>
    private const long RoundTogether = 16 << 10;

    /// <summary>Floats of scratch that each worker needs: sums of a tile, and the outputs of a panel that is not full.</summary>
    private const int ScratchFloats = 2 * MaxTileRows * WeightLayout.PanelRows;

    private const int MaxTileRows = TileRounding.MaxRows;

    /// <summary>Rounded x that stays in L2 beside the panels.</summary>
    private const int BlockBytes = 384 << 10;

    /// <summary>Panels up to the size of a usual L2 are fetched whole while others are worked on; measured at depths of 5632 to 16000.</summary>
    private const int FetchedPanelBytes = 1024 << 10;

    /// <summary>Tiles that share the fetching of the next panel.</summary>
    private const int MostShares = 16;

    /// <summary>How far ahead of its use the first tile fetches a panel: measured.</summary>
    private const int AheadBytes = 4096;

    private struct Job
    {
        public float* X;
        public byte* Tiles; // x, rounded
        public byte* Weight;
        public float* Output;
        public float* Scratch; // ScratchFloats a worker
        public delegate*<TileArguments*, void> Compiled;
        public nint* Generated; // null: the compiled one
        public long XStride, OutputStride;
        public RowTiles Rows;
        public WeightFormat Format;
        public int Columns, Channels, Panels, PanelBytes, TileRowBytes;
        public int TilesEach, Tasks, RoundTicket, Ticket;
    }

    /// <summary>Multiplies; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor x, in Weight weight, in Tensor output)
    {
        if (x.Rows == 0 || weight.Rows == 0)
            return;
        nint[]? generated = host.Generated(weight.Format);
        fixed (nint* kernels = generated)
            Run(host, kernels, generated?.Length ?? CompiledTile.Rows, x, weight, output);
    }

    private static void Run(KernelHost host, nint* generated, int tileRows, in Tensor x, in Weight weight, in Tensor output)
    {
        var job = new Job
        {
            X = (float*)x.Address,
            Weight = (byte*)weight.Memory.Address,
            Output = (float*)output.Address,
            Scratch = host.Scratch(ScratchFloats),
            Compiled = Compiled(host.Kernels, weight.Format),
            Generated = generated,
            XStride = x.RowStride,
            OutputStride = output.RowStride,
            Rows = RowTiles.Of(x.Rows, tileRows),
            Format = weight.Format,
            Columns = weight.Columns,
            Channels = weight.Rows,
            Panels = weight.Memory.Rows,
            PanelBytes = weight.Memory.Columns,
            TileRowBytes = WeightLayout.TileRowBytes(weight.Format, weight.Columns),
        };
        job.Tiles = (byte*)host.Shared((long)x.Rows * job.TileRowBytes / sizeof(float));
        host.Run(&Round, &job, (long)x.Rows * x.Columns < RoundTogether ? 0 : long.MaxValue);

        // Blocks are also made smaller when there are too few panels for all workers to end at about the same time.
        int parts = Math.Clamp((8 * host.Workers + job.Panels - 1) / job.Panels, 1, job.Rows.Tiles);
        parts = Math.Max(parts, (int)Math.Min(job.Rows.Tiles, (long)x.Rows * job.TileRowBytes / BlockBytes + 1));
        job.TilesEach = (job.Rows.Tiles + parts - 1) / parts;
        job.Tasks = job.Panels * ((job.Rows.Tiles + job.TilesEach - 1) / job.TilesEach);
        host.Run(&Multiply, &job, (long)x.Rows * weight.Rows * weight.Columns / 64);
    }

    /// <summary>The compiled kernel of a family; of the one below where <see cref="KernelFamily.Avx512"/> has no generated kernel for a format.</summary>
    public static delegate*<TileArguments*, void> Compiled(KernelFamily family, WeightFormat format) =>
        (family == KernelFamily.Avx512 ? KernelFamilyExtensions.Best(SimdPath.Avx2) : family) switch
        {
            KernelFamily.AvxVnni => CompiledTile.Select<ByteDot256<VnniProducts>, Vector256<int>, Vector256<float>>(format),
            KernelFamily.Avx2 => CompiledTile.Select<ByteDot256<Avx2Products>, Vector256<int>, Vector256<float>>(format),
            _ => CompiledTile.Select<ByteDot128, Vector128<int>, Vector128<float>>(format),
        };

    private static void Round(void* state, int worker)
    {
        ref Job job = ref *(Job*)state;
        for (int tile; (tile = Tickets.Take(ref job.RoundTicket, 1)) < job.Rows.Tiles;)
        {
            int first = job.Rows.First(tile);
            TileRounding.Round(
                job.Format, job.X + first * job.XStride, job.XStride, job.Rows.First(tile + 1) - first, job.Columns,
                job.Tiles + (long)first * job.TileRowBytes);
        }
    }

    private static void Multiply(void* state, int worker)
    {
        ref Job job = ref *(Job*)state;
        float* sums = job.Scratch + (long)worker * ScratchFloats;
        bool fetched = false; // whether this task's panel is in L2 already
        int task = Tickets.Take(ref job.Ticket, 1);
        while (task < job.Tasks)
        {
            int next = Tickets.Take(ref job.Ticket, 1); // known now, so that its panel can be fetched
            int from = task / job.Panels * job.TilesEach, to = Math.Min(from + job.TilesEach, job.Rows.Tiles);
            bool fetch = to - from > 1 && next < job.Tasks && job.PanelBytes <= FetchedPanelBytes;
            Panel(job, task % job.Panels, fetch ? next % job.Panels : -1, fetched, from, to, sums);
            (task, fetched) = (next, fetch);
        }
    }

    /// <summary>Multiplies tiles [<paramref name="from"/>, <paramref name="to"/>) by a panel.</summary>
    /// <param name="next">The panel to fetch meanwhile, or −1.</param>
    /// <param name="fetched">Whether the panel itself has been.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Panel(in Job job, int panel, int next, bool fetched, int from, int to, float* sums)
    {
        float* spill = sums + MaxTileRows * WeightLayout.PanelRows;
        int channel = panel * WeightLayout.PanelRows, channels = Math.Min(WeightLayout.PanelRows, job.Channels - channel);
        bool whole = channels == WeightLayout.PanelRows;
        var tile = new TileArguments
        {
            Weight = job.Weight + (long)panel * job.PanelBytes,
            Sums = sums,
            Columns = job.Columns,
            OutputStride = (whole ? job.OutputStride : WeightLayout.PanelRows) * sizeof(float),
        };
        long step = job.Format == WeightFormat.Int4 ? WeightLayout.Int4GroupBytes / 4 : WeightLayout.StepBytes;
        int shares = Math.Min(to - from, MostShares); // tiles that fetch a part of the next panel each
        for (int t = from; t < to; t++)
        {
            int first = job.Rows.First(t);
            float* output = job.Output + first * job.OutputStride + channel;
            tile.X = job.Tiles + (long)first * job.TileRowBytes;
            tile.Rows = job.Rows.First(t + 1) - first;
            tile.Output = whole ? output : spill;
            tile.Ahead = tile.Weight;
            tile.AheadStep = 0;
            if (t == from && !fetched)
            {
                tile.Ahead += AheadBytes;
                tile.AheadStep = step;
            }
            else if (next >= 0 && t - from < shares)
            {
                tile.Ahead = job.Weight + (long)next * job.PanelBytes + (long)job.PanelBytes * (t - from) / shares;
                tile.AheadStep = (step + shares - 1) / shares;
            }

            if (job.Generated != null)
                ((delegate* unmanaged[SuppressGCTransition]<TileArguments*, void>)job.Generated[tile.Rows - 1])(&tile);
            else
                job.Compiled(&tile);
            for (int r = 0; !whole && r < tile.Rows; r++)
                new Span<float>(spill + r * WeightLayout.PanelRows, channels).CopyTo(new Span<float>(output + r * job.OutputStride, channels));
        }
    }
}
