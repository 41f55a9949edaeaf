using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Kernels;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounds rows of a stored matrix into the panels of <see cref="WeightLayout"/>.</summary>
/// <remarks>One thread a panel: a run of up to 32 rows is widened and rounded in L1, then interleaved. Reads memory once, in order.</remarks>
internal static unsafe class WeightPack
{
    private const int Run = WeightLayout.RunColumns, Group = WeightLayout.GroupColumns, PanelRows = WeightLayout.PanelRows;

    private struct Job
    {
        public byte* Source;
        public byte* Target;
        public WeightError* Errors; // one a panel, so that the sum does not depend on who packs what
        public delegate*<byte*, float*, int, void> Widen;
        public long SourceStride;
        public int ElementBytes, FirstRow, Rows, Columns, PanelBytes, FirstPanel, Panels, Ticket;
        public WeightFormat Format;
    }

    /// <summary>Packs; shapes checked by the caller.</summary>
    public static WeightError Pack(KernelHost host, in Tensor source, in Weight target, int firstRow)
    {
        if (source.Rows == 0)
            return default;
        int firstPanel = firstRow / PanelRows;
        var errors = new WeightError[WeightLayout.Panels(firstRow + source.Rows) - firstPanel];
        fixed (WeightError* sums = errors)
        {
            var job = new Job
            {
                Source = (byte*)source.Address,
                Target = (byte*)target.Memory.Address,
                Errors = sums,
                Widen = Select(host.Path, source.Type),
                SourceStride = source.RowBytes,
                ElementBytes = source.Type.Size(),
                FirstRow = firstRow,
                Rows = source.Rows,
                Columns = source.Columns,
                PanelBytes = target.Memory.Columns,
                FirstPanel = firstPanel,
                Panels = errors.Length,
                Format = target.Format,
            };
            host.Run(&Work, &job, (long)source.Rows * source.Columns);
        }

        WeightError error = default;
        foreach (WeightError panel in errors)
            error += panel;
        return error;
    }

    private static void Work(void* state, int worker)
    {
        ref Job job = ref *(Job*)state;
        for (int panel; (panel = Tickets.Take(ref job.Ticket, 1)) < job.Panels;)
        {
            int start = (job.FirstPanel + panel) * PanelRows;
            int first = Math.Max(start, job.FirstRow), end = Math.Min(start + PanelRows, job.FirstRow + job.Rows);
            byte* source = job.Source + (first - job.FirstRow) * job.SourceStride;
            byte* target = job.Target + (long)(job.FirstPanel + panel) * job.PanelBytes;
            job.Errors[panel] = Pack(job, source, target, first - start, end - first);
        }
    }

    /// <summary>Packs <paramref name="rows"/> rows as channels of one panel, from channel <paramref name="first"/> on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static WeightError Pack(in Job job, byte* source, byte* target, int first, int rows)
    {
        float* values = stackalloc float[Run + 16];
        byte* codes = stackalloc byte[PanelRows * Run * 2]; // up to two bytes an element
        double lost = 0, total = 0;
        for (int column = 0; column < job.Columns; column += Run)
        {
            int count = Math.Min(Run, job.Columns - column);
            byte* scales = target + count * PanelRows; // after the run's Int8 codes
            for (int r = 0; r < rows; r++)
            {
                byte* row = codes + r * Run * 2;
                job.Widen(source + r * job.SourceStride + (long)column * job.ElementBytes, values, count);
                switch (job.Format)
                {
                    case WeightFormat.Int8:
                        Int8(values, count, row, (float*)scales + first + r, ref lost, ref total);
                        break;
                    case WeightFormat.Int4:
                        Int4(values, count, row, target + (first + r) * sizeof(ushort), ref lost, ref total);
                        break;
                    default:
                        BF16(values, count, (ushort*)row, ref lost, ref total);
                        break;
                }
            }

            target = Interleave(job.Format, codes, target, first, rows, count);
        }

        return new WeightError(lost, total);
    }

    private static void Int8(float* values, int count, byte* codes, float* scale, ref double lost, ref double total)
    {
        float step = *scale = SignedBytes.Round(values, count, (sbyte*)codes);
        for (int i = 0; i < count; i += 8)
        {
            Vector256<float> value = Vector256.Load(values + i);
            Vector128<short> words = Vector128.WidenLower(Vector128.CreateScalar(*(ulong*)(codes + i)).AsSByte());
            Vector256<int> code = Vector256.Create(Vector128.WidenLower(words), Vector128.WidenUpper(words));
            Add(value, Vector256.ConvertToSingle(code) * step, ref lost, ref total);
        }

        for (int i = 0; i < count; i += 32)
            (Vector256.Load(codes + i) ^ Vector256.Create((byte)0x80)).Store(codes + i);
    }

    /// <param name="panel">The run's first group, plus the channel's place among the scales.</param>
    private static void Int4(float* values, int count, byte* codes, byte* panel, ref double lost, ref double total)
    {
        for (int g = 0; g < count; g += Group)
        {
            Half scale = Nibbles.Round(values + g, codes + g);
            *(Half*)(panel + g / Group * WeightLayout.Int4GroupBytes + PanelRows * Group / 2) = scale;
            float step = (float)scale;
            for (int i = g; i < g + Group; i += 8)
            {
                Vector128<ushort> words = Vector128.WidenLower(Vector128.CreateScalar(*(ulong*)(codes + i)).AsByte());
                Vector256<int> code = Vector256.Create(Vector128.WidenLower(words), Vector128.WidenUpper(words)).AsInt32() - Vector256.Create(8);
                Add(Vector256.Load(values + i), Vector256.ConvertToSingle(code) * step, ref lost, ref total);
            }
        }
    }

    private static void BF16(float* values, int count, ushort* codes, ref double lost, ref double total)
    {
        for (int i = count; i < count + 8; i++)
            values[i] = 0; // the last vector may be ragged
        for (int i = 0; i < count; i += 8)
        {
            Vector256<float> value = Vector256.Load(values + i);
            Vector256<uint> rounded = BFloat16.Round(value);
            Vector128.Narrow(rounded.GetLower(), rounded.GetUpper()).Store(codes + i);
            Add(value, (rounded << 16).AsSingle(), ref lost, ref total);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(Vector256<float> value, Vector256<float> packed, ref double lost, ref double total)
    {
        Vector256<float> difference = value - packed;
        lost += Vector256.Sum(difference * difference);
        total += Vector256.Sum(value * value);
    }

    /// <summary>Spreads one run of codes over the panel's steps; returns where the next run goes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static byte* Interleave(WeightFormat format, byte* codes, byte* target, int first, int rows, int count)
    {
        if (format == WeightFormat.Int4)
        {
            for (int g = 0; g < count; g += Group, target += WeightLayout.Int4GroupBytes)
            {
                for (int r = 0; r < rows; r++)
                {
                    uint* words = (uint*)(codes + r * Run * 2 + g);
                    for (int pair = 0; pair < Group / 8; pair++)
                        ((uint*)(target + pair * WeightLayout.StepBytes))[first + r] = words[2 * pair] | words[2 * pair + 1] << 4;
                }
            }

            return target;
        }

        int steps = format == WeightFormat.BF16 ? count / 2 : count / 4;
        for (int r = 0; r < rows; r++)
        {
            uint* words = (uint*)(codes + r * Run * 2);
            for (int step = 0; step < steps; step++)
                ((uint*)(target + step * WeightLayout.StepBytes))[first + r] = words[step];
        }

        return target + steps * WeightLayout.StepBytes + (format == WeightFormat.Int8 ? PanelRows * sizeof(float) : 0);
    }

    private static delegate*<byte*, float*, int, void> Select(SimdPath path, DType type) => path switch
    {
        SimdPath.Avx512 => Select<Simd512, Vector512<float>>(type),
        SimdPath.Avx2 => Select<Simd256, Vector256<float>>(type),
        _ => Select<Simd128, Vector128<float>>(type),
    };

    private static delegate*<byte*, float*, int, void> Select<S, V>(DType type) where S : struct, ISimd<V> where V : struct => type switch
    {
        DType.F32 => &Widen<S, V, F32Element>,
        DType.F16 => &Widen<S, V, F16Element>,
        _ => &Widen<S, V, BF16Element>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen<S, V, E>(byte* source, float* values, int count) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int i = 0;
        for (; i <= count - S.Width; i += S.Width)
            S.Store(values + i, E.Load<S, V>(source + i * E.Size));
        if (i < count)
            S.StorePartial(values + i, Ragged.Load<S, V, E>(source + i * E.Size, count - i), count - i);
    }
}
