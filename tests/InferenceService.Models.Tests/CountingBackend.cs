using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests;

/// <summary>Counts the bytes of packed weights.</summary>
internal sealed class CountingBackend : IBackend
{
    private readonly CpuBackend _inner = new(1);

    public long PackedBytes { get; private set; }

    public string Name => _inner.Name;

    public Tensor Allocate(DType type, int rows, int columns) => _inner.Allocate(type, rows, columns);

    public Tensor Place(Tensor host) => _inner.Place(host);

    public bool Supports(WeightFormat format, int columns) => _inner.Supports(format, columns);

    public Weight AllocateWeight(WeightFormat format, int rows, int columns)
    {
        Weight weight = _inner.AllocateWeight(format, rows, columns);
        PackedBytes += weight.ByteLength;
        return weight;
    }

    public WeightError Pack(Tensor host, in Weight target, int firstRow) => _inner.Pack(host, target, firstRow);

    public void Upload(ReadOnlySpan<byte> host, Tensor device) => _inner.Upload(host, device);

    public void Download(Tensor device, Span<byte> host) => _inner.Download(device, host);

    public void Embed(Tensor table, Tensor ids, Tensor output) => throw new NotSupportedException();

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output) => throw new NotSupportedException();

    public void MatMul(Tensor x, Tensor weight, Tensor output) => throw new NotSupportedException();

    public void AddBias(Tensor x, Tensor bias) => throw new NotSupportedException();

    public void Rope(Tensor x, Tensor cosSin, int headDim) => throw new NotSupportedException();

    public void SiluMultiply(Tensor gate, Tensor up, Tensor output) => throw new NotSupportedException();

    public void Add(Tensor x, Tensor residual) => throw new NotSupportedException();

    public void WriteKv(Tensor k, Tensor v, in PagedKv cache) => throw new NotSupportedException();

    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output) => throw new NotSupportedException();

    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format) => throw new NotSupportedException();

    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format) => throw new NotSupportedException();

    public void Dispose() => _inner.Dispose();
}
