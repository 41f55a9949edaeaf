using InferenceService.Compute;

namespace InferenceService.Cuda.Verbs;

/// <summary>Weights of <see cref="WeightFormat.BF16"/> on a device: rows one after another, each padded with zeros to 16 bytes.</summary>
internal static unsafe class PackedRows
{
    private const int Multiple = 8; // elements: what cuBLASLt's tensor-core kernels want of a stride

    /// <summary>Elements from row to row.</summary>
    public static int Stride(int columns) => checked((columns + Multiple - 1) / Multiple * Multiple);

    /// <summary>Rounds a row to nearest even; what is not a number stays one.</summary>
    /// <returns>What rounding lost.</returns>
    public static WeightError Round(Tensor host, int row, Span<ushort> target)
    {
        double lost = 0, total = 0;
        byte* source = (byte*)host.Address + row * host.RowBytes;
        for (int c = 0; c < host.Columns; c++)
        {
            float value = Read(host.Type, source, c);
            uint bits = BitConverter.SingleToUInt32Bits(value);
            target[c] = (ushort)(float.IsNaN(value) ? (bits >> 16) | 0x40 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
            double difference = (double)BitConverter.UInt32BitsToSingle((uint)target[c] << 16) - value;
            lost += difference * difference;
            total += (double)value * value;
        }

        target[host.Columns..].Clear();
        return new WeightError(lost, total);
    }

    private static float Read(DType type, byte* row, int column) => type switch
    {
        DType.F32 => ((float*)row)[column],
        DType.F16 => (float)((Half*)row)[column],
        _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)row)[column] << 16),
    };
}
