using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Kernels;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounds rows of a stored matrix into the panels of <see cref="WeightLayout"/>.</summary>
/// <remarks>One thread a panel; eight rows at a time are widened and rounded, a run of columns after the other, in L1. Reads memory once.</remarks>
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
        float* values = stackalloc float[Octet.Rows * Run];
        float* columns = stackalloc float[Octet.Rows * Run];
        uint* words = stackalloc uint[Octet.Rows * Run / 2]; // bf16 has most: two columns a word
        WeightError error = default;
        for (int column = 0; column < job.Columns; column += Run)
        {
            int count = Math.Min(Run, job.Columns - column);
            for (int channel = first / Octet.Rows * Octet.Rows; channel < first + rows; channel += Octet.Rows)
            {
                int from = Math.Max(channel, first), to = Math.Min(channel + Octet.Rows, first + rows);
                if (to - from < Octet.Rows)
                    new Span<float>(values, Octet.Rows * Run).Clear();
                for (int r = from; r < to; r++)
                    job.Widen(source + (r - first) * job.SourceStride + (long)column * job.ElementBytes, values + (r - channel) * Run, count);
                Octet.Transpose(values, columns, count);
                error += Round(job.Format, columns, count, words, target, channel, from, to);
            }

            target += WeightLayout.PanelBytes(job.Format, count);
        }

        return error;
    }

    /// <summary>Rounds a run of an octet and puts the words of channels [<paramref name="from"/>, <paramref name="to"/>) into the panel.</summary>
    private static WeightError Round(WeightFormat format, float* columns, int count, uint* words, byte* target, int channel, int from, int to)
    {
        if (format == WeightFormat.Int4)
        {
            WeightError error = default;
            for (int g = 0; g < count; g += Group, target += WeightLayout.Int4GroupBytes)
            {
                error += Int4Octet.Round(columns + g * Octet.Rows, words);
                Put(words, 4, target, channel, from, to);
                ushort* scales = (ushort*)(words + 4 * Octet.Rows) - channel, places = (ushort*)(target + 4 * WeightLayout.StepBytes);
                for (int c = from; c < to; c++)
                    places[c] = scales[c];
            }

            return error;
        }

        bool bytes = format == WeightFormat.Int8;
        WeightError lost = bytes ? Int8Octet.Round(columns, count, words) : BF16Octet.Round(columns, count, words);
        Put(words, bytes ? count / 4 + 1 : count / 2, target, channel, from, to); // scales are laid out as one more step
        return lost;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Put(uint* words, int steps, byte* target, int channel, int from, int to)
    {
        uint* place = (uint*)target + channel;
        for (int step = 0; step < steps; step++, place += PanelRows, words += Octet.Rows)
        {
            if (to - from == Octet.Rows)
            {
                Vector256.Load(words).Store(place);
                continue;
            }

            for (int c = from - channel; c < to - channel; c++)
                place[c] = words[c];
        }
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
