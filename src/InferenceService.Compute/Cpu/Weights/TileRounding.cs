using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rounds rows of x into a tile of <see cref="WeightLayout"/>. A row's codes depend on that row alone.</summary>
internal static unsafe class TileRounding
{
    /// <summary>Most rows of a tile: those of the tallest kernel.</summary>
    public const int MaxRows = 12;

    /// <summary>Bytes of codes from one row to the next, until they are interleaved: a run of bytes, or half a run of bfloat16.</summary>
    private const int RowBytes = WeightLayout.RunColumns;

    /// <summary>Rounds one tile.</summary>
    /// <param name="x">Its first row.</param>
    /// <param name="stride">Floats from row to row.</param>
    /// <param name="target">The tile.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Round(WeightFormat format, float* x, long stride, int rows, int columns, byte* target)
    {
        sbyte* codes = stackalloc sbyte[MaxRows * RowBytes];
        int* words = (int*)target;
        int width = format == WeightFormat.BF16 ? RowBytes / 2 : RowBytes;
        for (int column = 0; column < columns; column += width)
        {
            int count = Math.Min(width, columns - column);
            words = format switch
            {
                WeightFormat.BF16 => BF16(x + column, stride, rows, count, codes, words),
                WeightFormat.Int8 => Int8(x + column, stride, rows, count, codes, words),
                _ => Int4(x + column, stride, rows, count, codes, words),
            };
        }
    }

    private static int* Int8(float* x, long stride, nint rows, int count, sbyte* codes, int* words)
    {
        float* scales = (float*)(words + (1 + count / 4) * rows);
        for (nint r = 0; r < rows; r++)
        {
            sbyte* row = codes + r * RowBytes;
            scales[r] = SignedBytes.Round(x + r * stride, count, row);
            int sum = 0;
            for (int i = 0; i < count; i += WeightLayout.GroupColumns)
                sum += SignedBytes.Sum32(row + i);
            words[r] = -128 * sum;
        }

        Interleave((byte*)codes, count / 4, rows, words + rows);
        return (int*)(scales + rows);
    }

    private static int* Int4(float* x, long stride, nint rows, int count, sbyte* codes, int* words)
    {
        int groups = count / WeightLayout.GroupColumns;
        float* scales = (float*)(words + 9 * groups * rows);
        for (nint r = 0; r < rows; r++)
        {
            sbyte* row = codes + r * RowBytes;
            scales[r] = SignedBytes.Round(x + r * stride, count, row);
            for (int g = 0; g < groups; g++)
                words[9 * g * rows + r] = -8 * SignedBytes.Sum32(row + g * WeightLayout.GroupColumns);
        }

        for (int g = 0; g < groups; g++)
            Interleave((byte*)codes + g * WeightLayout.GroupColumns, WeightLayout.GroupColumns / 4, rows, words + (9 * g + 1) * rows);
        return (int*)(scales + rows);
    }

    private static int* BF16(float* x, long stride, nint rows, int count, sbyte* codes, int* words)
    {
        float* rest = stackalloc float[16];
        for (nint r = 0; r < rows; r++)
        {
            float* row = x + r * stride;
            ushort* to = (ushort*)(codes + r * RowBytes);
            int i = 0;
            for (; i <= count - 16; i += 16)
                Vector256.Narrow(BFloat16.Round(Vector256.Load(row + i)), BFloat16.Round(Vector256.Load(row + i + 8))).Store(to + i);
            if (i == count)
                continue;
            new Span<float>(row + i, count - i).CopyTo(new Span<float>(rest, 16));
            Vector256.Narrow(BFloat16.Round(Vector256.Load(rest)), BFloat16.Round(Vector256.Load(rest + 8))).Store(to + i);
        }

        Interleave((byte*)codes, count / 2, rows, words);
        return words + count / 2 * rows;
    }

    /// <summary>Puts word i of every row side by side: target[i · rows + r].</summary>
    private static void Interleave(byte* codes, nint count, nint rows, int* target)
    {
        if (rows == 1)
        {
            Buffer.MemoryCopy(codes, target, count * sizeof(int), count * sizeof(int));
            return;
        }

        nint done = 0;
        if (rows >= 4 && Sse2.IsSupported)
        {
            done = count & ~3;
            for (nint r = 0; r < rows; r += 4)
            {
                nint first = Math.Min(r, rows - 4); // the last four may overlap those before
                Quad(codes + first * RowBytes, done, rows, target + first);
            }
        }

        for (nint r = 0; r < rows; r++)
        {
            int* words = (int*)(codes + r * RowBytes);
            for (nint i = done; i < count; i++)
                target[i * rows + r] = words[i];
        }
    }

    /// <summary>The same for four rows and a multiple of four words.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Quad(byte* codes, nint count, nint rows, int* target)
    {
        for (nint i = 0; i < count; i += 4, codes += 16, target += 4 * rows)
        {
            Vector128<int> a = Vector128.Load((int*)codes), b = Vector128.Load((int*)(codes + RowBytes));
            Vector128<int> c = Vector128.Load((int*)(codes + 2 * RowBytes)), d = Vector128.Load((int*)(codes + 3 * RowBytes));
            Vector128<long> ab = Sse2.UnpackLow(a, b).AsInt64(), cd = Sse2.UnpackLow(c, d).AsInt64();
            Vector128<long> ef = Sse2.UnpackHigh(a, b).AsInt64(), gh = Sse2.UnpackHigh(c, d).AsInt64();
            Sse2.UnpackLow(ab, cd).AsInt32().Store(target);
            Sse2.UnpackHigh(ab, cd).AsInt32().Store(target + rows);
            Sse2.UnpackLow(ef, gh).AsInt32().Store(target + 2 * rows);
            Sse2.UnpackHigh(ef, gh).AsInt32().Store(target + 3 * rows);
        }
    }
}
