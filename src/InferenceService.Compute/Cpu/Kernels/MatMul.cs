using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>output = x · weightᵀ.</summary>
/// <remarks>
/// <para>
/// Order of every reduction, whatever the batch, the tiling or the number of threads: K is cut into even runs of at most <see cref="DepthBlock"/>;
/// inside a run one vector accumulator takes the products in order of k, then its lanes are added in the order of
/// <see cref="ISimd{V}.Sum"/>; run sums are added in order. So a row's bits never depend on the rows beside it.
/// </para>
/// <para>
/// Few rows (decode): 2·M flops per weight, which at 2 bytes a weight is M flops a byte; bound by memory up to M ≈ 8 rows. Weights are
/// read once, four rows at a time, widened in registers.
/// Many rows (prefill): bound by FMA. A panel of weights is widened once into a scratch that stays in L2; a tile of x stays in L1;
/// 6 × 4 accumulators need 10 loads per 24 FMA.
/// </para>
/// </remarks>
internal static unsafe class MatMul
{
    /// <summary>Elements of K whose products one accumulator takes: 6 rows of x and 4 of the weight fit L1.</summary>
    private const int DepthBlock = 1024;

    /// <summary>Weight rows of a widened panel: 256 KiB of floats, a quarter of a usual L2.</summary>
    private const int PanelRows = 64;

    /// <summary>From this many rows of x on, a widened panel is cheaper than widening in every tile: measured, dear and cheap widening.</summary>
    private const int PanelFromRows = 14, PanelFromRowsCheap = 64;

    private const int RowsPerTask = 256;
    private const int BytesPerTask = 128 << 10;

    /// <summary>Floats of scratch that each worker needs.</summary>
    private const int ScratchFloats = PanelRows * DepthBlock;

    /// <summary>One call, on the caller's stack.</summary>
    private struct Job
    {
        public float* X;
        public byte* Weight;
        public float* Output;
        public float* Scratch; // ScratchFloats a worker
        public long XStride, WeightStrideBytes, OutputStride;
        public int Rows, Columns, Depth;
        public bool Panels;
        public int ColumnsEach, RowTasks, Tasks, Ticket;
    }

    /// <summary>Multiplies; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, in Tensor x, in Tensor weight, in Tensor output)
    {
        var job = new Job
        {
            X = (float*)x.Address,
            XStride = x.RowStride,
            Weight = (byte*)weight.Address,
            WeightStrideBytes = weight.RowBytes,
            Output = (float*)output.Address,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Columns = weight.Rows,
            Depth = x.Columns,
            Panels = x.Rows >= (weight.Type == DType.BF16 ? PanelFromRowsCheap : PanelFromRows),
        };
        if (job.Panels)
        {
            job.Scratch = host.Scratch(ScratchFloats);
            job.ColumnsEach = PanelRows;
            job.RowTasks = (job.Rows + RowsPerTask - 1) / RowsPerTask;
        }
        else
        {
            long columns = Math.Min(BytesPerTask / weight.RowBytes, job.Columns / (8 * host.Workers));
            job.ColumnsEach = (int)Math.Clamp(columns / MatMulTile.Columns * MatMulTile.Columns, MatMulTile.Columns, 1 << 14);
            job.RowTasks = 1;
        }

        job.Tasks = (job.Columns + job.ColumnsEach - 1) / job.ColumnsEach * job.RowTasks;
        host.Run(Select(host.Path, weight.Type), &job, (long)job.Rows * job.Columns * job.Depth / 16);
    }

    /// <summary>The kernel for a path and a weight type.</summary>
    public static delegate*<void*, int, void> Select(SimdPath path, DType weight) => path switch
    {
        SimdPath.Avx512 => Select<Simd512, Vector512<float>>(weight),
        SimdPath.Avx2 => Select<Simd256, Vector256<float>>(weight),
        _ => Select<Simd128, Vector128<float>>(weight),
    };

    private static delegate*<void*, int, void> Select<S, V>(DType weight) where S : struct, ISimd<V> where V : struct => weight switch
    {
        DType.F32 => &Run<S, V, F32Element>,
        DType.F16 => &Run<S, V, F16Element>,
        _ => &Run<S, V, BF16Element>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<S, V, E>(void* state, int worker) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        ref Job job = ref *(Job*)state;
        for (int task; (task = Tickets.Take(ref job.Ticket, 1)) < job.Tasks;)
        {
            int column = task / job.RowTasks * job.ColumnsEach;
            int columns = Math.Min(job.ColumnsEach, job.Columns - column);
            int row = task % job.RowTasks * RowsPerTask;
            int rows = job.RowTasks == 1 ? job.Rows : Math.Min(RowsPerTask, job.Rows - row);
            if (job.Panels)
                Panel<S, V, E>(job, column, columns, row, rows, job.Scratch + (long)worker * ScratchFloats);
            else
                Stream<S, V, E>(job, column, columns);
            if (job.Depth % S.Width != 0)
                Remainder<S, V, E>(job, column, columns, row, rows);
        }
    }

    /// <summary>Few rows: weight tiles in memory order, every row of x against each while it is in L1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Stream<S, V, E>(in Job job, int column, int columns) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int whole = job.Depth - job.Depth % S.Width;
        int run = Run(whole, S.Width);
        for (int n = column; n < column + columns; n += MatMulTile.Columns)
        {
            byte* weight = job.Weight + n * job.WeightStrideBytes;
            int width = Math.Min(MatMulTile.Columns, column + columns - n);
            for (int k = 0; k < whole; k += run)
            {
                int depth = Math.Min(run, whole - k);
                for (int m = 0; m < job.Rows; m += S.TileRows)
                {
                    MatMulTile.Run<S, V, E>(
                        m == 0, job.X + m * job.XStride + k, job.XStride, weight + (long)k * E.Size, job.WeightStrideBytes, depth,
                        job.Output + m * job.OutputStride + n, job.OutputStride, Math.Min(S.TileRows, job.Rows - m), width, k > 0,
                        weight + (k + run < whole ? (long)(k + run) * E.Size : MatMulTile.Columns * job.WeightStrideBytes));
                }
            }
        }
    }

    /// <summary>Many rows: a panel of the weight, widened if need be, against all rows of the task.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Panel<S, V, E>(in Job job, int column, int columns, int row, int rows, float* scratch)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int whole = job.Depth - job.Depth % S.Width, run = Run(whole, S.Width);
        for (int k = 0; k < whole; k += run)
        {
            int depth = Math.Min(run, whole - k);
            byte* panel = job.Weight + column * job.WeightStrideBytes + (long)k * E.Size;
            long stride = job.WeightStrideBytes;
            if (!E.IsF32)
            {
                Widen<S, V, E>(panel, stride, columns, depth, scratch);
                panel = (byte*)scratch;
                stride = DepthBlock * sizeof(float);
            }

            for (int m = row; m < row + rows; m += S.TileRows)
            {
                int height = Math.Min(S.TileRows, row + rows - m);
                for (int n = 0; n < columns; n += MatMulTile.Columns)
                {
                    MatMulTile.Run<S, V, F32Element>(
                        false, job.X + m * job.XStride + k, job.XStride, panel + n * stride, stride, depth,
                        job.Output + m * job.OutputStride + column + n, job.OutputStride, height,
                        Math.Min(MatMulTile.Columns, columns - n), k > 0, null);
                }
            }
        }
    }

    /// <summary>Length of a run of K: as even as whole vectors allow, so that the last is not a stump.</summary>
    private static int Run(int whole, int width)
    {
        int runs = Math.Max(1, (whole + DepthBlock - 1) / DepthBlock);
        return Math.Max(1, ((whole + runs - 1) / runs + width - 1) / width) * width;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen<S, V, E>(byte* source, long stride, int rows, int depth, float* target)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        for (int r = 0; r < rows; r++)
        {
            byte* from = source + r * stride;
            float* to = target + r * DepthBlock;
            for (nint k = 0; k < depth; k += S.Width)
            {
                S.Prefetch(from + k * E.Size + 2 * stride);
                S.Store(to + k, E.Load<S, V>(from + k * E.Size));
            }
        }
    }

    /// <summary>The end of K that fills no vector: a run of its own, added last.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Remainder<S, V, E>(in Job job, int column, int columns, int row, int rows)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int rest = job.Depth % S.Width, k = job.Depth - rest;
        for (int n = column; n < column + columns; n++)
        {
            V weight = Ragged.Load<S, V, E>(job.Weight + n * job.WeightStrideBytes + (long)k * E.Size, rest);
            for (int m = row; m < row + rows; m++)
            {
                float* output = job.Output + m * job.OutputStride + n;
                float sum = S.Sum(S.Multiply(S.LoadPartial(job.X + m * job.XStride + k, rest), weight));
                *output = k > 0 ? *output + sum : sum;
            }
        }
    }
}
