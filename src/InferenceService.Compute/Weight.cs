namespace InferenceService.Compute;

/// <summary>A matrix [rows = out, columns = in] of a decoder: a stored tensor, or packed by <see cref="IBackend.Pack"/>.</summary>
/// <remarks>A value, as <see cref="Tensor"/> is; it never owns the memory.</remarks>
/// <param name="Format">How the elements are held.</param>
/// <param name="Rows">Output channels.</param>
/// <param name="Columns">Input features.</param>
/// <param name="Memory">Stored: the matrix itself. Packed: u8, in an order that only the backend that allocated it knows.</param>
public readonly record struct Weight(WeightFormat Format, int Rows, int Columns, Tensor Memory)
{
    /// <summary>A matrix that stays as it is stored.</summary>
    public static Weight Stored(Tensor matrix) => new(WeightFormat.Stored, matrix.Rows, matrix.Columns, matrix);

    /// <summary>Bytes that a product with this matrix reads.</summary>
    public long ByteLength => Memory.ByteLength;
}
