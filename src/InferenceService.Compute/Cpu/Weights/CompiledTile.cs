using System.Runtime.CompilerServices;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>The tile kernels that .NET compiles: every family but <see cref="KernelFamily.Avx512"/>, and the oracle of that one.</summary>
/// <remarks>
/// <para>
/// Order of Int8: a run's sum S of integers is exact; sum ← fma(float(S) · weight scale, x scale, sum), runs in order, from +0.
/// Order of Int4: inside a run, inner ← fma(float(S of a group), weight scale, inner), groups in order, from +0; then
/// sum ← fma(inner, x scale, sum). |S| &lt; 2^24, so float(S) is exact.
/// Order of BF16: one sum a channel; for every pair of columns first the odd one, then the even one, each a fused multiply-add, as
/// vdpbf16ps does, except that it takes subnormal inputs and sums as zero.
/// </para>
/// <para>So a row's bits depend neither on the rows beside it nor, with integers, on the family.</para>
/// </remarks>
internal static unsafe class CompiledTile
{
    /// <summary>Rows of x in a tile.</summary>
    public const int Rows = 8;

    private const int Step = WeightLayout.StepBytes;

    /// <summary>The kernel for a format.</summary>
    public static delegate*<TileArguments*, void> Select<D, I, F>(WeightFormat format) where D : struct, IByteDot<I, F> where I : struct where F : struct =>
        format switch
        {
            WeightFormat.Int8 => &Int8<D, I, F>,
            WeightFormat.Int4 => &Int4<D, I, F>,
            _ => &BF16<D, I, F>,
        };

    private static void Int8<D, I, F>(TileArguments* tile) where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        nint rows = (nint)tile->Rows;
        byte* x = tile->X, weight = tile->Weight;
        Clear(tile);
        for (nint left = (nint)tile->Columns; left > 0; left -= WeightLayout.RunColumns)
        {
            nint steps = Math.Min(left, WeightLayout.RunColumns) / 4;
            int* starts = (int*)x;
            float* xScales = (float*)(starts + (steps + 1) * rows), weightScales = (float*)(weight + steps * Step);
            for (nint r = 0; r < rows; r += 2)
            {
                float* sums = tile->Sums + r * WeightLayout.PanelRows;
                if (r + 1 < rows)
                    Int8<D, I, F, Two>(starts + r, rows, weight, steps, xScales + r, weightScales, sums);
                else
                    Int8<D, I, F, One>(starts + r, rows, weight, steps, xScales + r, weightScales, sums);
            }

            x = (byte*)(xScales + rows);
            weight = (byte*)(weightScales + WeightLayout.PanelRows);
        }

        Put(tile);
    }

    /// <summary>One run of one or two rows, four vectors of channels at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Int8<D, I, F, R>(int* x, nint rows, byte* weight, nint steps, float* xScales, float* weightScales, float* sums)
        where D : struct, IByteDot<I, F> where I : struct where F : struct where R : struct, IRows
    {
        for (nint lane = 0; lane < WeightLayout.PanelRows; lane += 4 * D.Lanes)
        {
            byte* w = weight + lane * 4;
            int* words = x + rows;
            I a = D.Broadcast(x[0]), b = a, c = a, d = a;
            I e = D.Broadcast(R.IsTwo ? x[1] : 0), f = e, g = e, h = e;
            for (nint step = 0; step < steps; step++, w += Step, words += rows)
            {
                I first = D.Broadcast(words[0]), second = D.Broadcast(R.IsTwo ? words[1] : 0), v = D.Load(w);
                a = D.Dot(a, v, first);
                if (R.IsTwo) e = D.Dot(e, v, second);
                v = D.Load(w + 4 * D.Lanes);
                b = D.Dot(b, v, first);
                if (R.IsTwo) f = D.Dot(f, v, second);
                v = D.Load(w + 8 * D.Lanes);
                c = D.Dot(c, v, first);
                if (R.IsTwo) g = D.Dot(g, v, second);
                v = D.Load(w + 12 * D.Lanes);
                d = D.Dot(d, v, first);
                if (R.IsTwo) h = D.Dot(h, v, second);
            }

            Scale<D, I, F>(sums + lane, weightScales + lane, xScales[0], a, b, c, d);
            if (R.IsTwo)
                Scale<D, I, F>(sums + WeightLayout.PanelRows + lane, weightScales + lane, xScales[1], e, f, g, h);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale<D, I, F>(float* sums, float* scales, float xScale, I a, I b, I c, I d)
        where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        F scale = D.Splat(xScale);
        Add<D, I, F>(sums, D.Multiply(D.ToFloat(a), D.LoadFloats(scales)), scale);
        Add<D, I, F>(sums + D.Lanes, D.Multiply(D.ToFloat(b), D.LoadFloats(scales + D.Lanes)), scale);
        Add<D, I, F>(sums + 2 * D.Lanes, D.Multiply(D.ToFloat(c), D.LoadFloats(scales + 2 * D.Lanes)), scale);
        Add<D, I, F>(sums + 3 * D.Lanes, D.Multiply(D.ToFloat(d), D.LoadFloats(scales + 3 * D.Lanes)), scale);
    }

    private static void Int4<D, I, F>(TileArguments* tile) where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        nint rows = (nint)tile->Rows;
        byte* x = tile->X, weight = tile->Weight;
        Clear(tile);
        for (nint left = (nint)tile->Columns; left > 0; left -= WeightLayout.RunColumns)
        {
            nint groups = Math.Min(left, WeightLayout.RunColumns) / WeightLayout.GroupColumns;
            float* xScales = (float*)((int*)x + 9 * groups * rows);
            for (nint r = 0; r < rows; r += 2)
            {
                float* sums = tile->Sums + r * WeightLayout.PanelRows;
                if (r + 1 < rows)
                    Int4<D, I, F, Two>((int*)x + r, rows, weight, groups, xScales + r, sums);
                else
                    Int4<D, I, F, One>((int*)x + r, rows, weight, groups, xScales + r, sums);
            }

            x = (byte*)(xScales + rows);
            weight += groups * WeightLayout.Int4GroupBytes;
        }

        Put(tile);
    }

    /// <summary>One run of one or two rows, two vectors of channels at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Int4<D, I, F, R>(int* x, nint rows, byte* weight, nint groups, float* xScales, float* sums)
        where D : struct, IByteDot<I, F> where I : struct where F : struct where R : struct, IRows
    {
        for (nint lane = 0; lane < WeightLayout.PanelRows; lane += 2 * D.Lanes)
        {
            byte* w = weight + lane * 4;
            int* words = x;
            F a = D.Splat(0), b = a, c = a, d = a;
            for (nint group = 0; group < groups; group++)
            {
                I p = D.Broadcast(words[0]), q = p, s = D.Broadcast(R.IsTwo ? words[1] : 0), t = s;
                words += rows;
                for (nint pair = 0; pair < 4; pair++, w += Step, words += 2 * rows)
                {
                    I first = D.Load(w), second = D.Load(w + 4 * D.Lanes), low = D.Broadcast(words[0]), high = D.Broadcast(words[rows]);
                    I firstLow = D.LowNibbles(first), firstHigh = D.HighNibbles(first), secondLow = D.LowNibbles(second), secondHigh = D.HighNibbles(second);
                    p = D.DotNibbles(D.DotNibbles(p, firstLow, low), firstHigh, high);
                    q = D.DotNibbles(D.DotNibbles(q, secondLow, low), secondHigh, high);
                    if (R.IsTwo)
                    {
                        low = D.Broadcast(words[1]);
                        high = D.Broadcast(words[rows + 1]);
                        s = D.DotNibbles(D.DotNibbles(s, firstLow, low), firstHigh, high);
                        t = D.DotNibbles(D.DotNibbles(t, secondLow, low), secondHigh, high);
                    }
                }

                ushort* scales = (ushort*)(w - lane * 4) + lane;
                F scale = D.LoadHalves(scales), next = D.LoadHalves(scales + D.Lanes);
                a = D.MultiplyAdd(D.ToFloat(p), scale, a);
                b = D.MultiplyAdd(D.ToFloat(q), next, b);
                if (R.IsTwo)
                {
                    c = D.MultiplyAdd(D.ToFloat(s), scale, c);
                    d = D.MultiplyAdd(D.ToFloat(t), next, d);
                }

                w += WeightLayout.Int4GroupBytes - 4 * Step;
            }

            Add<D, I, F>(sums + lane, a, D.Splat(xScales[0]));
            Add<D, I, F>(sums + lane + D.Lanes, b, D.Splat(xScales[0]));
            if (R.IsTwo)
            {
                Add<D, I, F>(sums + WeightLayout.PanelRows + lane, c, D.Splat(xScales[1]));
                Add<D, I, F>(sums + WeightLayout.PanelRows + lane + D.Lanes, d, D.Splat(xScales[1]));
            }
        }
    }

    private static void BF16<D, I, F>(TileArguments* tile) where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        for (nint r = 0; r < tile->Rows; r += 2)
        {
            if (r + 1 < tile->Rows)
                BF16<D, I, F, Two>(tile, r);
            else
                BF16<D, I, F, One>(tile, r);
        }
    }

    /// <summary>One or two rows, four vectors of channels at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BF16<D, I, F, R>(TileArguments* tile, nint row)
        where D : struct, IByteDot<I, F> where I : struct where F : struct where R : struct, IRows
    {
        nint rows = (nint)tile->Rows, steps = (nint)tile->Columns / 2;
        for (nint lane = 0; lane < WeightLayout.PanelRows; lane += 4 * D.Lanes)
        {
            byte* w = tile->Weight + lane * 4;
            int* words = (int*)tile->X + row;
            F a = D.Splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
            for (nint step = 0; step < steps; step++, w += Step, words += rows)
            {
                I first = D.Broadcast(words[0]), second = D.Broadcast(R.IsTwo ? words[1] : 0), v = D.Load(w);
                F odd = D.High(v), even = D.Low(v);
                a = D.MultiplyAdd(even, D.Low(first), D.MultiplyAdd(odd, D.High(first), a));
                if (R.IsTwo) e = D.MultiplyAdd(even, D.Low(second), D.MultiplyAdd(odd, D.High(second), e));
                v = D.Load(w + 4 * D.Lanes);
                odd = D.High(v);
                even = D.Low(v);
                b = D.MultiplyAdd(even, D.Low(first), D.MultiplyAdd(odd, D.High(first), b));
                if (R.IsTwo) f = D.MultiplyAdd(even, D.Low(second), D.MultiplyAdd(odd, D.High(second), f));
                v = D.Load(w + 8 * D.Lanes);
                odd = D.High(v);
                even = D.Low(v);
                c = D.MultiplyAdd(even, D.Low(first), D.MultiplyAdd(odd, D.High(first), c));
                if (R.IsTwo) g = D.MultiplyAdd(even, D.Low(second), D.MultiplyAdd(odd, D.High(second), g));
                v = D.Load(w + 12 * D.Lanes);
                odd = D.High(v);
                even = D.Low(v);
                d = D.MultiplyAdd(even, D.Low(first), D.MultiplyAdd(odd, D.High(first), d));
                if (R.IsTwo) h = D.MultiplyAdd(even, D.Low(second), D.MultiplyAdd(odd, D.High(second), h));
            }

            float* output = (float*)((byte*)tile->Output + row * tile->OutputStride) + lane;
            Store<D, I, F>(output, a, b, c, d);
            if (R.IsTwo)
                Store<D, I, F>((float*)((byte*)output + tile->OutputStride), e, f, g, h);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<D, I, F>(float* output, F a, F b, F c, F d) where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        D.Store(output, a);
        D.Store(output + D.Lanes, b);
        D.Store(output + 2 * D.Lanes, c);
        D.Store(output + 3 * D.Lanes, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<D, I, F>(float* sums, F inner, F scale) where D : struct, IByteDot<I, F> where I : struct where F : struct =>
        D.Store(sums, D.MultiplyAdd(inner, scale, D.LoadFloats(sums)));

    private static void Clear(TileArguments* tile) => new Span<float>(tile->Sums, (int)tile->Rows * WeightLayout.PanelRows).Clear();

    private static void Put(TileArguments* tile)
    {
        for (int r = 0; r < tile->Rows; r++)
        {
            new Span<float>(tile->Sums + r * WeightLayout.PanelRows, WeightLayout.PanelRows)
                .CopyTo(new Span<float>((byte*)tile->Output + r * tile->OutputStride, WeightLayout.PanelRows));
        }
    }

    /// <summary>Whether a kernel takes two rows, known to the JIT: they share the unpacking of the weights.</summary>
    private interface IRows
    {
        static abstract bool IsTwo { get; }
    }

    private struct One : IRows { public static bool IsTwo => false; }

    private struct Two : IRows { public static bool IsTwo => true; }
}
