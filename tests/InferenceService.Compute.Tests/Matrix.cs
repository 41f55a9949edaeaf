using System.Runtime.InteropServices;

namespace InferenceService.Compute.Tests;

/// <summary>A matrix in a test: its values, and the tensor that a backend gets, with NaN all around it.</summary>
/// <param name="Left">Columns of NaN before each row.</param>
/// <param name="Right">Columns of NaN after each row.</param>
internal sealed record Matrix(DType Type, int Rows, int Columns, float[] Values, int Left = 0, int Right = 0)
{
    /// <summary>Values from a bell curve of the given width, rounded to the type.</summary>
    public static Matrix Random(Random random, DType type, int rows, int columns, float width = 1, bool strided = false)
    {
        float[] values = new float[rows * columns];
        byte[] element = new byte[4];
        for (int i = 0; i < values.Length; i++)
        {
            double bell = random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5;
            Half16Bits.Write(type, element, 0, (float)(2 * width * bell));
            values[i] = Half16Bits.Read(type, element, 0);
        }

        return new Matrix(type, rows, columns, values, strided ? random.Next(4) : 0, strided ? random.Next(4) : 0);
    }

    /// <summary>An output to be: all NaN.</summary>
    public static Matrix Blank(int rows, int columns, int left = 0, int right = 0)
    {
        float[] values = new float[rows * columns];
        Array.Fill(values, float.NaN);
        return new Matrix(DType.F32, rows, columns, values, left, right);
    }

    public ReadOnlySpan<float> Row(int row) => Values.AsSpan(row * Columns, Columns);

    /// <summary>Some of the rows.</summary>
    public Matrix RowRange(int start, int count) =>
        this with { Rows = count, Values = Values.AsSpan(start * Columns, count * Columns).ToArray() };

    /// <summary>Uploads it; the tensor's rows are strided when there are columns around them.</summary>
    public Tensor On(IBackend backend)
    {
        int stride = Left + Columns + Right, size = Type.Size();
        byte[] bytes = new byte[Rows * stride * size];
        for (int r = 0; r < Rows; r++)
        {
            Span<byte> row = bytes.AsSpan(r * stride * size, stride * size);
            for (int c = 0; c < stride; c++)
                Half16Bits.Write(Type, row, c, c >= Left && c < Left + Columns ? Values[r * Columns + c - Left] : float.NaN);
        }

        Tensor all = backend.Allocate(Type, Rows, stride);
        backend.Upload(bytes, all);
        return all.ColumnRange(Left, Columns);
    }

    /// <summary>Downloads a tensor made by <see cref="On"/> and checks that the NaN around it are untouched.</summary>
    public float[] From(IBackend backend, Tensor tensor)
    {
        Tensor all = tensor with { Offset = tensor.Offset - (long)Left * Type.Size(), Columns = tensor.RowStride };
        float[] raw = new float[all.Rows * all.Columns];
        backend.Download(all, MemoryMarshal.AsBytes(raw.AsSpan()));
        float[] values = new float[Rows * Columns];
        for (int r = 0; r < Rows; r++)
        {
            for (int c = 0; c < all.Columns; c++)
            {
                float value = raw[r * all.Columns + c];
                if (c >= Left && c < Left + Columns)
                    values[r * Columns + c - Left] = value;
                else if (!float.IsNaN(value))
                    Assert.Fail($"Row {r}: the operation wrote {value} beside its output, at column {c - Left} of {Columns}.");
            }
        }

        return values;
    }
}
