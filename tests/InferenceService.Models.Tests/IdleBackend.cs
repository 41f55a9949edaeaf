using InferenceService.Compute;

namespace InferenceService.Models.Tests;

/// <summary>Has memory but computes nothing: what is left of a step is the model's own work.</summary>
internal sealed class IdleBackend : IBackend
{
    private readonly List<HostBuffer> _buffers = [];

    public string Name => "idle";

    public Tensor Allocate(DType type, int rows, int columns)
    {
        _buffers.Add(new HostBuffer((long)rows * columns * type.Size()));
        return Tensor.Dense(_buffers[^1], 0, type, rows, columns);
    }

    public Tensor Place(Tensor host) => host;

    public void Upload(ReadOnlySpan<byte> host, Tensor device) { }

    public void Download(Tensor device, Span<byte> host) { }

    public void Embed(Tensor table, Tensor ids, Tensor output) { }

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output) { }

    public void AddRmsNorm(Tensor x, Tensor residual, Tensor weight, float epsilon, Tensor output) { }

    public void MatMul(Tensor x, Tensor weight, Tensor output) { }

    public void AddBias(Tensor x, Tensor bias) { }

    public void Rope(Tensor x, Tensor cosSin, int headDim) { }

    public void SiluMultiply(Tensor gate, Tensor up, Tensor output) { }

    public void Add(Tensor x, Tensor residual) { }

    public void WriteKv(Tensor k, Tensor v, in PagedKv cache) { }

    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output) { }

    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format) { }

    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format) { }

    public void Dispose() => _buffers.ForEach(buffer => buffer.Dispose());
}
