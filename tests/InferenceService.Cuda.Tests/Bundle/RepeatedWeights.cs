using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Cuda.Tests.Bundle;

/// <summary>Weights for timing a model of billions of parameters: every matrix reads the same host memory, and gets device memory of its own.</summary>
/// <remarks>Seeded bfloat16 of a size that keeps activations of order one; names and shapes as Llama's checkpoints have them.</remarks>
internal sealed class RepeatedWeights : IWeightSource, IDisposable
{
    private const int Period = 1 << 20; // elements after which they repeat, far beyond what a cache would notice

    private readonly ModelConfig _config;
    private readonly HostBuffer _elements;

    public RepeatedWeights(ModelConfig config)
    {
        _config = config;
        int hidden = config.HiddenSize;
        long most = Math.Max((long)hidden * config.VocabularySize, (long)hidden * Math.Max(config.IntermediateSize, config.Heads * config.HeadDim));
        _elements = new HostBuffer(most * sizeof(ushort));
        var random = new Random(1);
        float scale = 1 / MathF.Sqrt(hidden);
        Span<ushort> first = MemoryMarshal.Cast<byte, ushort>(_elements.Slice(0, (int)Math.Min(most, Period) * sizeof(ushort)));
        for (int i = 0; i < first.Length; i++)
            first[i] = (ushort)(BitConverter.SingleToUInt32Bits(scale * (2 * random.NextSingle() - 1)) >> 16);
        for (long done = first.Length; done < most; done += Period)
        {
            int count = (int)Math.Min(Period, most - done);
            MemoryMarshal.AsBytes(first[..count]).CopyTo(_elements.Slice(done * sizeof(ushort), count * sizeof(ushort)));
        }
    }

    /// <summary>Bytes of the matrices that a step multiplies with.</summary>
    public static long MatrixBytes(ModelConfig config)
    {
        long hidden = config.HiddenSize, queries = (long)config.Heads * config.HeadDim, keys = (long)config.KvHeads * config.HeadDim;
        return sizeof(ushort) * hidden * (config.Layers * (2 * queries + 2 * keys + 3L * config.IntermediateSize) + config.VocabularySize);
    }

    public bool TryGet(string name, out Tensor weight)
    {
        int hidden = _config.HiddenSize, queries = _config.Heads * _config.HeadDim, keys = _config.KvHeads * _config.HeadDim;
        (int rows, int columns) = name.Split('.')[^2] switch
        {
            "embed_tokens" or "lm_head" => (_config.VocabularySize, hidden),
            "q_proj" => (queries, hidden),
            "k_proj" or "v_proj" => (keys, hidden),
            "o_proj" => (hidden, queries),
            "gate_proj" or "up_proj" => (_config.IntermediateSize, hidden),
            "down_proj" => (hidden, _config.IntermediateSize),
            _ => (1, hidden), // norms
        };
        weight = Tensor.Dense(_elements, 0, DType.BF16, rows, columns);
        return true;
    }

    public void Dispose() => _elements.Dispose();
}
