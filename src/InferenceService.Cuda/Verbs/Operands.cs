using InferenceService.Compute;

namespace InferenceService.Cuda.Verbs;

/// <summary>Activations in the form in which products with weights of a format read them: <see cref="IBackend.AllocateOperand"/>.</summary>
/// <remarks>
/// Bfloat16 and binary16: elements, rows padded with zeros to 16 bytes. Bytes: rows as those of an Int8 weight, codes and then one f32 scale a run of
/// 256 columns. A tensor's columns are the elements; what follows them in a row lies inside its stride.
/// </remarks>
internal static class Operands
{
    /// <summary>Type of the elements; f32 where the weight is multiplied as stored.</summary>
    public static DType TypeOf(WeightFormat format) => format switch
    {
        WeightFormat.BF16 => DType.BF16,
        WeightFormat.F16 => DType.F16,
        WeightFormat.Int8 or WeightFormat.Int4 => DType.U8,
        _ => DType.F32,
    };

    /// <summary>Elements from row to row.</summary>
    public static int Stride(DType type, int columns) => type switch
    {
        DType.F32 => columns,
        DType.U8 => PackedRows.Bytes(WeightFormat.Int8, columns),
        _ => PackedRows.Stride(columns),
    };

    /// <summary>Refuses an output that is neither f32 nor has the room that a form needs.</summary>
    /// <exception cref="ShapeException">It has not.</exception>
    public static void Check(in Tensor tensor)
    {
        if (tensor.Type == DType.F32)
            return;
        bool known = tensor.Type is DType.F16 or DType.BF16 || (tensor.Type == DType.U8 && tensor.Columns % PackedRows.Group == 0);
        if (!known || tensor.RowStride < Stride(tensor.Type, tensor.Columns) || tensor.RowBytes % 16 != 0 || tensor.Offset % 16 != 0)
            throw new ShapeException($"{tensor.Type} [{tensor.Rows}, {tensor.Columns}] stride {tensor.RowStride} is no operand of a product: take it from AllocateOperand.");
    }

    /// <summary>The same tensor as rules see it that know f32 alone.</summary>
    public static Tensor AsF32(in Tensor tensor) => tensor with { Type = DType.F32 };
}
