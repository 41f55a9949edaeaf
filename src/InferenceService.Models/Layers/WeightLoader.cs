using System.Buffers.Binary;
using InferenceService.Compute;
using InferenceService.Models.Architectures;

namespace InferenceService.Models.Layers;

/// <summary>Brings weights onto the device: checks shape and type, stacks what is computed together, widens vectors.</summary>
/// <param name="source">Where weights come from.</param>
/// <param name="backend">Where they go.</param>
/// <param name="total">Bytes of all weights, for the progress report.</param>
/// <param name="progress">Told after every weight.</param>
internal sealed class WeightLoader(IWeightSource source, IBackend backend, long total, IProgress<LoadProgress>? progress)
{
    private const int UploadBytes = 4 << 20;

    private long _done;

    /// <summary>A matrix as stored; on the CPU it stays where it lies.</summary>
    /// <exception cref="CheckpointException">Missing, or of another shape or type.</exception>
    public Tensor Matrix(WeightSpec spec)
    {
        Tensor placed = backend.Place(Fetch(source, spec));
        Report(placed.ByteLength);
        return placed;
    }

    /// <summary>Several matrices as one, row by row. Types that differ are widened to f32, which holds each of them exactly.</summary>
    /// <exception cref="CheckpointException">One is missing, or of another shape or type.</exception>
    public Tensor Stack(IReadOnlyList<WeightSpec> parts)
    {
        if (parts.Count == 1)
            return Matrix(parts[0]);
        var hosts = new Tensor[parts.Count];
        int rows = 0;
        for (int i = 0; i < hosts.Length; i++)
        {
            hosts[i] = Fetch(source, parts[i]);
            rows += hosts[i].Rows;
        }

        DType type = Array.TrueForAll(hosts, host => host.Type == hosts[0].Type) ? hosts[0].Type : DType.F32;
        Tensor whole = backend.Allocate(type, rows, parts[0].Columns);
        int row = 0;
        foreach (Tensor host in hosts)
        {
            Copy(host, whole.RowRange(row, host.Rows));
            row += host.Rows;
            Report(host.ByteLength);
        }

        return whole;
    }

    /// <summary>Vectors end to end as one of f32: norm weights and biases are small, and kernels then know one type.</summary>
    /// <exception cref="CheckpointException">One is missing, or of another shape or type.</exception>
    public Tensor Vector(params ReadOnlySpan<WeightSpec> parts)
    {
        int length = 0;
        foreach (WeightSpec part in parts)
            length += part.Columns;
        Tensor whole = backend.Allocate(DType.F32, 1, length);
        int column = 0;
        foreach (WeightSpec part in parts)
        {
            Tensor host = Fetch(source, part);
            Copy(host, whole.ColumnRange(column, part.Columns));
            column += part.Columns;
            Report(host.ByteLength);
        }

        return whole;
    }

    /// <summary>The weight in host memory, its shape and type checked.</summary>
    /// <exception cref="CheckpointException">Missing, or of another shape or type.</exception>
    public static Tensor Fetch(IWeightSource source, WeightSpec spec)
    {
        if (!source.TryGet(spec.Name, out Tensor weight))
            throw new CheckpointException($"Weight {Quote.Value(spec.Name)} is missing.");
        if (weight.Rows != spec.Rows || weight.Columns != spec.Columns)
        {
            throw new CheckpointException(
                $"Weight {Quote.Value(spec.Name)} has shape [{weight.Rows}, {weight.Columns}]; config.json asks for [{spec.Rows}, {spec.Columns}].");
        }

        if (weight.Type is not (DType.F32 or DType.F16 or DType.BF16))
            throw new CheckpointException($"Weight {Quote.Value(spec.Name)} has type {weight.Type}; supported are F32, F16 and BF16.");
        return weight;
    }

    private void Copy(Tensor host, Tensor device)
    {
        int rowsAtOnce = Math.Max(1, UploadBytes / (host.Columns * sizeof(float)));
        byte[] widened = host.Type == device.Type ? [] : new byte[Math.Min(rowsAtOnce, host.Rows) * host.Columns * sizeof(float)];
        for (int row = 0; row < host.Rows; row += rowsAtOnce)
        {
            int count = Math.Min(rowsAtOnce, host.Rows - row);
            ReadOnlySpan<byte> bytes = HostBytes(host.RowRange(row, count));
            if (host.Type != device.Type)
                bytes = Widen(bytes, host.Type, widened.AsSpan(0, count * host.Columns * sizeof(float)));
            backend.Upload(bytes, device.RowRange(row, count));
        }
    }

    private static ReadOnlySpan<byte> HostBytes(Tensor host) => host.Buffer switch
    {
        MappedFile file => file.Slice(host.Offset, checked((int)host.ByteLength)),
        HostBuffer memory => memory.Slice(host.Offset, checked((int)host.ByteLength)),
        _ => throw new ShapeException("A weight source must give host memory."),
    };

    private static Span<byte> Widen(ReadOnlySpan<byte> from, DType type, Span<byte> to)
    {
        for (int i = 0; i < to.Length / sizeof(float); i++)
        {
            ushort bits = BinaryPrimitives.ReadUInt16LittleEndian(from[(2 * i)..]);
            float value = type == DType.F16 ? (float)BitConverter.UInt16BitsToHalf(bits) : BitConverter.UInt32BitsToSingle((uint)bits << 16);
            BinaryPrimitives.WriteSingleLittleEndian(to[(sizeof(float) * i)..], value);
        }

        return to;
    }

    private void Report(long bytes) => progress?.Report(new LoadProgress(_done += bytes, total));
}
