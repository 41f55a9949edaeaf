using System.Buffers.Binary;
using InferenceService.Compute;
using InferenceService.Models.Architectures;
using InferenceService.Models.Packed;

namespace InferenceService.Models.Layers;

/// <summary>Brings weights onto the device: checks shape and type, stacks what is computed together, packs matrices, widens vectors.</summary>
/// <param name="source">Where weights come from.</param>
/// <param name="backend">Where they go.</param>
/// <param name="format">How matrices are held there.</param>
/// <param name="kept">Packed matrices of an earlier load; null = none are kept.</param>
/// <param name="total">Bytes of all weights, for the progress report.</param>
/// <param name="progress">Told after every weight.</param>
internal sealed class WeightLoader(IWeightSource source, IBackend backend, WeightFormat format, PackedWeights? kept, long total, IProgress<LoadProgress>? progress)
{
    private const int UploadBytes = 4 << 20;

    private readonly List<string> _kept = [];
    private long _done;
    private int _rounded;
    private WeightFormat _head;
    private WeightError _error;
    private string? _worst;
    private double _worstRelative;

    /// <summary>How matrices are held that can be held so.</summary>
    public WeightFormat Format => format;

    /// <summary>How the matrices loaded so far are held.</summary>
    public WeightFacts Facts => new()
    {
        Format = format,
        HeadFormat = _head,
        Rounded = _rounded,
        Error = _error,
        Worst = _worst,
        WorstRelative = _worstRelative,
        Kept = [.. _kept],
    };

    /// <summary>A table of rows to look up, as stored; on the CPU it stays where it lies.</summary>
    /// <exception cref="CheckpointException">Missing, or of another shape or type.</exception>
    public Tensor Table(WeightSpec spec)
    {
        Tensor host = Fetch(source, spec), placed = backend.Place(host);
        if (placed.Buffer != host.Buffer)
            Release(host);
        Report(placed.ByteLength);
        return placed;
    }

    /// <summary>A matrix of a layer.</summary>
    /// <exception cref="CheckpointException">Missing, or of another shape or type.</exception>
    public Weight Matrix(WeightSpec spec) => Stack([spec]);

    /// <summary>Several matrices as one, row by row. Stored types that differ are widened to f32, which holds each of them exactly.</summary>
    /// <exception cref="CheckpointException">One is missing, or of another shape or type.</exception>
    public Weight Stack(IReadOnlyList<WeightSpec> parts) => Holds(parts, format) ? Packed(parts, format) : Weight.Stored(Stored(parts));

    /// <summary>The output head.</summary>
    /// <param name="own">Its matrix; null when embeddings are tied.</param>
    /// <param name="embedding">The embedding, which stays as stored for look-ups: a tied head is a packed copy.</param>
    /// <param name="table">The same, placed.</param>
    /// <exception cref="CheckpointException">Missing, or of another shape or type.</exception>
    public Weight Head(WeightSpec? own, WeightSpec embedding, Tensor table)
    {
        WeightFormat head = WeightFacts.HeadFormatOf(format);
        WeightSpec[] parts = [own ?? embedding];
        Weight built = Holds(parts, head) ? Packed(parts, head) : Weight.Stored(own is null ? table : Stored(parts));
        _head = built.Format;
        return built;
    }

    /// <summary>True when a backend packs rows of so many columns; else they stay as stored.</summary>
    public static bool Packs(IBackend backend, WeightFormat format, int columns) =>
        format != WeightFormat.Stored && format.Holds(columns) && backend.Supports(format, columns);

    private bool Holds(IReadOnlyList<WeightSpec> parts, WeightFormat wanted)
    {
        if (Packs(backend, wanted, parts[0].Columns))
            return true;
        if (wanted != WeightFormat.Stored)
            _kept.AddRange(parts.Select(part => part.Name));
        return false;
    }

    private Weight Packed(IReadOnlyList<WeightSpec> parts, WeightFormat wanted)
    {
        Weight whole = backend.AllocateWeight(wanted, parts.Sum(part => part.Rows), parts[0].Columns);
        string name = string.Join('+', parts.Select(part => part.Name));
        WeightError[]? known = kept?.TryRead(name, whole, parts.Count);
        WeightError[] errors = known ?? new WeightError[parts.Count];
        for (int i = 0, row = 0; i < parts.Count; row += parts[i++].Rows)
        {
            Tensor host = Fetch(source, parts[i]);
            if (known is null)
            {
                Expect(host);
                errors[i] = backend.Pack(host, whole, row);
                Release(host);
                _rounded++;
            }

            if (_worst is null || errors[i].Relative > _worstRelative)
                (_worst, _worstRelative) = (parts[i].Name, errors[i].Relative);
            _error += errors[i];
            Report(host.ByteLength);
        }

        if (known is null)
            kept?.Add(name, whole, errors);
        return whole;
    }

    private Tensor Stored(IReadOnlyList<WeightSpec> parts)
    {
        if (parts.Count == 1)
            return Table(parts[0]);
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
            Expect(host);
            Copy(host, whole.RowRange(row, host.Rows));
            Release(host);
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

    private static void Expect(Tensor host) => (host.Buffer as MappedFile)?.Expect(host.Offset, host.ByteLength);

    // Its pages need not stay in memory beside what was made of them.
    private static void Release(Tensor host) => (host.Buffer as MappedFile)?.Release(host.Offset, host.ByteLength);

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
