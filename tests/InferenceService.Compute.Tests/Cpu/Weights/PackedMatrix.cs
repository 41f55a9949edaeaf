using InferenceService.Compute.Cpu.Weights;

namespace InferenceService.Compute.Tests.Cpu.Weights;

/// <summary>A packed weight read back from its bytes as <see cref="WeightLayout"/> describes them, one element at a time.</summary>
internal sealed class PackedMatrix(IBackend backend, Weight weight)
{
    private readonly byte[] _bytes = backend.Read(weight.Memory, new byte[weight.ByteLength]).ToArray();

    /// <summary>The element that the weight now stands for.</summary>
    public double this[int row, int column] => weight.Format switch
    {
        WeightFormat.Int8 => (Int8Code(row, column) - 128) * (double)Int8Scale(row, column / 256),
        WeightFormat.Int4 => (Int4Code(row, column) - 8) * (double)Int4Scale(row, column / 32),
        _ => BitConverter.Int32BitsToSingle(BitConverter.ToUInt16(_bytes, Panel(row) + column / 2 * 128 + row % 32 * 4 + column % 2 * 2) << 16),
    };

    public float Int8Scale(int row, int run) =>
        BitConverter.ToSingle(_bytes, Panel(row) + run * (256 * 32 + 128) + Math.Min(256, weight.Columns - run * 256) * 32 + row % 32 * 4);

    public float Int4Scale(int row, int group) => (float)BitConverter.ToHalf(_bytes, Panel(row) + group * 576 + 512 + row % 32 * 2);

    private int Int8Code(int row, int column) => _bytes[Panel(row) + column / 256 * (256 * 32 + 128) + column % 256 / 4 * 128 + row % 32 * 4 + column % 4];

    private int Int4Code(int row, int column)
    {
        int step = column % 32 / 4;
        int both = _bytes[Panel(row) + column / 32 * 576 + step / 2 * 128 + row % 32 * 4 + column % 4];
        return step % 2 == 0 ? both & 15 : both >> 4;
    }

    private int Panel(int row) => row / 32 * weight.Memory.Columns;
}
