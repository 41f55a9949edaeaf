using System.Buffers.Binary;
using InferenceService.Compute;
using InferenceService.Models.Architectures;

namespace InferenceService.Models;

/// <summary>Seeded random weights for every tensor that a model's architecture asks for: for benchmarks and tests.</summary>
/// <remarks>
/// Scales keep activations of order one and logits spread (standard deviation about 4), so that greedy decoding is neither constant
/// nor a tie. A weight is made when first asked for and kept; models read it where it lies, so dispose this after them.
/// </remarks>
public sealed class RandomWeights : IWeightSource, IDisposable
{
    private readonly Dictionary<string, WeightSpec> _specs = [];
    private readonly Dictionary<string, HostBuffer> _made = [];
    private readonly ulong _seed;
    private readonly DType _type;
    private readonly bool _tied;

    /// <summary>Weights for <paramref name="config"/>.</summary>
    /// <param name="config">Shape of the model; its architecture names the tensors.</param>
    /// <param name="seed">Same seed, same weights.</param>
    /// <param name="type">F32, F16 or BF16.</param>
    /// <exception cref="CheckpointException">The architecture is not supported.</exception>
    public RandomWeights(ModelConfig config, ulong seed, DType type)
    {
        if (type is not (DType.F32 or DType.F16 or DType.BF16))
            throw new ArgumentOutOfRangeException(nameof(type), type, "Random weights are F32, F16 or BF16.");
        (_seed, _type, _tied) = (seed, type, config.TiedEmbeddings);
        foreach (WeightSpec spec in DecoderWeights.Of(config).All())
            _specs.Add(spec.Name, spec);
    }

    /// <inheritdoc/>
    public bool TryGet(string name, out Tensor weight)
    {
        if (!_specs.TryGetValue(name, out WeightSpec spec))
        {
            weight = default;
            return false;
        }

        if (!_made.TryGetValue(name, out HostBuffer? buffer))
            _made.Add(name, buffer = Make(spec));
        weight = Tensor.Dense(buffer, 0, _type, spec.Rows, spec.Columns);
        return true;
    }

    /// <summary>Frees all weights.</summary>
    public void Dispose()
    {
        foreach (HostBuffer buffer in _made.Values)
            buffer.Dispose();
        _made.Clear();
    }

    private HostBuffer Make(WeightSpec spec)
    {
        (float scale, float shift) = Distribution(spec);
        var numbers = new SeededUniform(_seed, spec.Name, scale, shift);
        long rowBytes = (long)spec.Columns * _type.Size();
        var buffer = new HostBuffer(rowBytes * spec.Rows);
        for (int row = 0; row < spec.Rows; row++)
        {
            Span<byte> bytes = buffer.Slice(row * rowBytes, checked((int)rowBytes));
            for (int column = 0; column < spec.Columns; column++)
                Write(bytes, column, numbers[(long)row * spec.Columns + column]);
        }

        return buffer;
    }

    /// <summary>
    /// Half-width and centre: unit variance through every product, sharper for q, k and the head. An embedding that is also the
    /// head is small beside what the layers add, or every token would predict itself.
    /// </summary>
    private (float Scale, float Shift) Distribution(WeightSpec spec)
    {
        double unit = Math.Sqrt(3.0 / spec.Columns);
        return spec.Name switch
        {
            _ when spec.Name.EndsWith("norm.weight", StringComparison.Ordinal) => (0.5f, 1),
            _ when spec.Name.EndsWith(".bias", StringComparison.Ordinal) => (0.5f, 0),
            "model.embed_tokens.weight" => (_tied ? 0.25f : (float)Math.Sqrt(3), 0),
            "lm_head.weight" => ((float)(4 * unit), 0),
            _ when spec.Name.Contains(".q_proj.") || spec.Name.Contains(".k_proj.") => ((float)(1.5 * unit), 0),
            _ => ((float)unit, 0),
        };
    }

    private void Write(Span<byte> row, int column, float value)
    {
        switch (_type)
        {
            case DType.F32:
                BinaryPrimitives.WriteSingleLittleEndian(row[(4 * column)..], value);
                break;
            case DType.F16:
                BinaryPrimitives.WriteHalfLittleEndian(row[(2 * column)..], (Half)value);
                break;
            default:
                uint bits = BitConverter.SingleToUInt32Bits(value);
                BinaryPrimitives.WriteUInt16LittleEndian(row[(2 * column)..], (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16));
                break;
        }
    }
}
