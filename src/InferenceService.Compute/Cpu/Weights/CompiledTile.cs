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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Int8<D, I, F>(TileArguments* tile) where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        nint rows = (nint)tile->Rows;
        byte* x = tile->X, weight = tile->Weight;
        Clear(tile);
        for (nint left = (nint)tile->Columns; left > 0; left -= WeightLayout.RunColumns)
        {
            nint steps = Math.Min(left, WeightLayout.RunColumns) / 4;
            int* starts = (int*)x, words = starts + rows;
            float* xScales = (float*)(words + steps * rows), weightScales = (float*)(weight + steps * Step);
            for (nint r = 0; r < rows; r++)
            {
                for (nint lane = 0; lane < WeightLayout.PanelRows; lane += 4 * D.Lanes)
                {
                    byte* w = weight + lane * 4;
                    I a = D.Broadcast(starts[r]), b = a, c = a, d = a;
                    for (nint step = 0; step < steps; step++, w += Step)
                    {
                        I word = D.Broadcast(words[step * rows + r]);
                        a = D.Dot(a, D.Load(w), word);
                        b = D.Dot(b, D.Load(w + 4 * D.Lanes), word);
                        c = D.Dot(c, D.Load(w + 8 * D.Lanes), word);
                        d = D.Dot(d, D.Load(w + 12 * D.Lanes), word);
                    }

                    float* sums = tile->Sums + r * WeightLayout.PanelRows + lane, scales = weightScales + lane;
                    F scale = D.Splat(xScales[r]);
                    Add<D, I, F>(sums, D.Multiply(D.ToFloat(a), D.LoadFloats(scales)), scale);
                    Add<D, I, F>(sums + D.Lanes, D.Multiply(D.ToFloat(b), D.LoadFloats(scales + D.Lanes)), scale);
                    Add<D, I, F>(sums + 2 * D.Lanes, D.Multiply(D.ToFloat(c), D.LoadFloats(scales + 2 * D.Lanes)), scale);
                    Add<D, I, F>(sums + 3 * D.Lanes, D.Multiply(D.ToFloat(d), D.LoadFloats(scales + 3 * D.Lanes)), scale);
                }
            }

            x = (byte*)(xScales + rows);
            weight = (byte*)(weightScales + WeightLayout.PanelRows);
        }

        Put(tile);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Int4<D, I, F>(TileArguments* tile) where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        nint rows = (nint)tile->Rows;
        byte* x = tile->X, weight = tile->Weight;
        Clear(tile);
        for (nint left = (nint)tile->Columns; left > 0; left -= WeightLayout.RunColumns)
        {
            nint groups = Math.Min(left, WeightLayout.RunColumns) / WeightLayout.GroupColumns;
            float* xScales = (float*)((int*)x + 9 * groups * rows);
            for (nint r = 0; r < rows; r++)
            {
                for (nint lane = 0; lane < WeightLayout.PanelRows; lane += 2 * D.Lanes)
                {
                    byte* w = weight + lane * 4;
                    int* words = (int*)x + r;
                    F a = D.Splat(0), b = a;
                    for (nint g = 0; g < groups; g++, w += WeightLayout.Int4GroupBytes, words += 9 * rows)
                    {
                        I p = D.Broadcast(words[0]), q = p;
                        for (nint pair = 0; pair < 4; pair++)
                        {
                            I low = D.Broadcast(words[(2 * pair + 1) * rows]), high = D.Broadcast(words[(2 * pair + 2) * rows]);
                            I first = D.Load(w + pair * Step), second = D.Load(w + pair * Step + 4 * D.Lanes);
                            p = D.DotNibbles(D.DotNibbles(p, D.LowNibbles(first), low), D.HighNibbles(first), high);
                            q = D.DotNibbles(D.DotNibbles(q, D.LowNibbles(second), low), D.HighNibbles(second), high);
                        }

                        ushort* scales = (ushort*)(weight + g * WeightLayout.Int4GroupBytes + 4 * Step) + lane;
                        a = D.MultiplyAdd(D.ToFloat(p), D.LoadHalves(scales), a);
                        b = D.MultiplyAdd(D.ToFloat(q), D.LoadHalves(scales + D.Lanes), b);
                    }

                    float* sums = tile->Sums + r * WeightLayout.PanelRows + lane;
                    Add<D, I, F>(sums, a, D.Splat(xScales[r]));
                    Add<D, I, F>(sums + D.Lanes, b, D.Splat(xScales[r]));
                }
            }

            x = (byte*)(xScales + rows);
            weight += groups * WeightLayout.Int4GroupBytes;
        }

        Put(tile);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void BF16<D, I, F>(TileArguments* tile) where D : struct, IByteDot<I, F> where I : struct where F : struct
    {
        nint rows = (nint)tile->Rows, steps = (nint)tile->Columns / 2;
        for (nint r = 0; r < rows; r++)
        {
            float* output = (float*)((byte*)tile->Output + r * tile->OutputStride);
            for (nint lane = 0; lane < WeightLayout.PanelRows; lane += 4 * D.Lanes)
            {
                byte* w = tile->Weight + lane * 4;
                int* words = (int*)tile->X + r;
                F a = D.Splat(0), b = a, c = a, d = a;
                for (nint step = 0; step < steps; step++, w += Step, words += rows)
                {
                    I pair = D.Broadcast(*words);
                    F even = D.Low(pair), odd = D.High(pair);
                    I p = D.Load(w), q = D.Load(w + 4 * D.Lanes), s = D.Load(w + 8 * D.Lanes), t = D.Load(w + 12 * D.Lanes);
                    a = D.MultiplyAdd(D.Low(p), even, D.MultiplyAdd(D.High(p), odd, a));
                    b = D.MultiplyAdd(D.Low(q), even, D.MultiplyAdd(D.High(q), odd, b));
                    c = D.MultiplyAdd(D.Low(s), even, D.MultiplyAdd(D.High(s), odd, c));
                    d = D.MultiplyAdd(D.Low(t), even, D.MultiplyAdd(D.High(t), odd, d));
                }

                D.Store(output + lane, a);
                D.Store(output + lane + D.Lanes, b);
                D.Store(output + lane + 2 * D.Lanes, c);
                D.Store(output + lane + 3 * D.Lanes, d);
            }
        }
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
}
