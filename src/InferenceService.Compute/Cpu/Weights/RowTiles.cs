using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rows of x cut into tiles as even as can be, and their rounding into the layout of <see cref="WeightLayout"/>.</summary>
/// <param name="Rows">Rows of x, at least 1.</param>
/// <param name="Tiles">Number of tiles; the first of them have one row more when it does not come out even.</param>
internal readonly record struct RowTiles(int Rows, int Tiles)
{
    /// <summary>The fewest tiles of at most <paramref name="height"/> rows.</summary>
    public static RowTiles Of(int rows, int height) => new(rows, (rows + height - 1) / height);

    /// <summary>First row of a tile; of the tile after the last, the number of rows.</summary>
    public int First(int tile) => Rows / Tiles * tile + Math.Min(tile, Rows % Tiles);

    /// <summary>Rounds one tile.</summary>
    /// <param name="x">Its first row.</param>
    /// <param name="stride">Floats from row to row.</param>
    /// <param name="target">The tile.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static unsafe void Round(WeightFormat format, float* x, long stride, int rows, int columns, byte* target)
    {
        for (int r = 0; r < rows; r++)
        {
            float* row = x + r * stride;
            int* words = (int*)target + r;
            if (format == WeightFormat.BF16)
                BF16(row, columns, words, rows);
            else if (format == WeightFormat.Int8)
                Int8(row, columns, words, rows);
            else
                Int4(row, columns, words, rows);
        }
    }

    private static unsafe void Int8(float* row, int columns, int* words, nint rows)
    {
        sbyte* codes = stackalloc sbyte[WeightLayout.RunColumns];
        for (int column = 0; column < columns; column += WeightLayout.RunColumns)
        {
            int count = Math.Min(WeightLayout.RunColumns, columns - column), sum = 0;
            float scale = SignedBytes.Round(row + column, count, codes);
            int* start = words;
            words += rows;
            for (int i = 0; i < count; i += WeightLayout.GroupColumns)
            {
                sum += SignedBytes.Sum32(codes + i);
                words = Spread((int*)(codes + i), WeightLayout.GroupColumns / 4, words, rows);
            }

            *start = -128 * sum;
            *(float*)words = scale;
            words += rows;
        }
    }

    private static unsafe void Int4(float* row, int columns, int* words, nint rows)
    {
        sbyte* codes = stackalloc sbyte[WeightLayout.RunColumns];
        for (int column = 0; column < columns; column += WeightLayout.RunColumns)
        {
            int count = Math.Min(WeightLayout.RunColumns, columns - column);
            float scale = SignedBytes.Round(row + column, count, codes);
            for (int i = 0; i < count; i += WeightLayout.GroupColumns)
            {
                *words = -8 * SignedBytes.Sum32(codes + i);
                words = Spread((int*)(codes + i), WeightLayout.GroupColumns / 4, words + rows, rows);
            }

            *(float*)words = scale;
            words += rows;
        }
    }

    private static unsafe void BF16(float* row, int columns, int* words, nint rows)
    {
        int* codes = stackalloc int[8];
        int i = 0;
        for (; i <= columns - 16; i += 16)
        {
            Vector256.Narrow(BFloat16.Round(Vector256.Load(row + i)), BFloat16.Round(Vector256.Load(row + i + 8))).AsInt32().Store(codes);
            words = Spread(codes, 8, words, rows);
        }

        if (i == columns)
            return;
        float* rest = stackalloc float[16];
        new Span<float>(row + i, columns - i).CopyTo(new Span<float>(rest, 16));
        Vector256.Narrow(BFloat16.Round(Vector256.Load(rest)), BFloat16.Round(Vector256.Load(rest + 8))).AsInt32().Store(codes);
        Spread(codes, (columns - i) / 2, words, rows);
    }

    /// <summary>Writes words one tile step apart; returns where the next goes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe int* Spread(int* source, int count, int* target, nint rows)
    {
        for (int i = 0; i < count; i++, target += rows)
            *target = source[i];
        return target;
    }
}
