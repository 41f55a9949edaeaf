namespace InferenceService.Compute;

/// <summary>A matrix [rows, columns] in a <see cref="DeviceBuffer"/>: rows may be strided, columns are contiguous.</summary>
/// <remarks>
/// Two dimensions are all a decoder needs: activations are [tokens, features], weights [out, in], vectors [1, n]. Heads are runs
/// of columns. A value, so slicing allocates nothing; it never owns the memory.
/// </remarks>
/// <param name="Buffer">The memory.</param>
/// <param name="Offset">First element, in bytes from the start of the buffer.</param>
/// <param name="Type">Element type.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="Columns">Elements a row.</param>
/// <param name="RowStride">Elements from one row to the next, at least <paramref name="Columns"/>.</param>
public readonly record struct Tensor(DeviceBuffer Buffer, long Offset, DType Type, int Rows, int Columns, int RowStride)
{
    /// <summary>A dense matrix at <paramref name="offset"/> bytes of <paramref name="buffer"/>.</summary>
    /// <exception cref="ShapeException">It does not lie wholly inside the buffer.</exception>
    public static Tensor Dense(DeviceBuffer buffer, long offset, DType type, int rows, int columns)
    {
        long bytes = (long)rows * columns * type.Size();
        if (rows < 0 || columns < 0 || offset < 0 || offset + bytes > buffer.ByteLength)
            throw new ShapeException($"A tensor of {bytes} bytes at {offset} does not fit a buffer of {buffer.ByteLength} bytes.");
        return new Tensor(buffer, offset, type, rows, columns, columns);
    }

    /// <summary>Address of the first element. Only kernels dereference it.</summary>
    public nint Address => Buffer.Address + (nint)Offset;

    /// <summary>Bytes from one row to the next.</summary>
    public long RowBytes => (long)RowStride * Type.Size();

    /// <summary>True when rows follow each other without a hole.</summary>
    public bool IsDense => RowStride == Columns || Rows <= 1;

    /// <summary>Bytes of the elements themselves, holes not counted.</summary>
    public long ByteLength => (long)Rows * Columns * Type.Size();

    /// <summary>Rows [<paramref name="start"/>, start + <paramref name="count"/>).</summary>
    /// <exception cref="ShapeException">The range leaves the tensor.</exception>
    public Tensor RowRange(int start, int count)
    {
        if (start < 0 || count < 0 || start > Rows - count)
            throw new ShapeException($"Rows {start}+{count} leave a tensor of {Rows} rows.");
        return this with { Offset = Offset + start * RowBytes, Rows = count };
    }

    /// <summary>Columns [<paramref name="start"/>, start + <paramref name="count"/>) of every row.</summary>
    /// <exception cref="ShapeException">The range leaves the tensor.</exception>
    public Tensor ColumnRange(int start, int count)
    {
        if (start < 0 || count < 0 || start > Columns - count)
            throw new ShapeException($"Columns {start}+{count} leave a tensor of {Columns} columns.");
        return this with { Offset = Offset + (long)start * Type.Size(), Columns = count };
    }
}
