using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Faults;

/// <summary>A backend that has no memory for the operation that a test names, and does all others.</summary>
/// <param name="inner">Does them; taken over.</param>
/// <param name="choosesGreedily">It also chooses tokens itself, of requests that want the highest logit, so that steps are called ahead.</param>
internal sealed class FlakyBackend(IBackend inner, bool choosesGreedily = false) : IBackend
{
    /// <summary>So many operations succeed, the next one is refused, and then all succeed again. Null = all succeed.</summary>
    public int? OperationsLeft { get; set; }

    /// <summary>No slot is moved.</summary>
    public bool RefusesMoves { get; set; }

    public string Name => inner.Name;

    public bool ReadsInPlace => inner.ReadsInPlace;

    public string? PackedLayout => inner.PackedLayout;

    public bool ChoosesTokens => choosesGreedily;

    public bool CanRecord => inner.CanRecord;

    public Tensor Allocate(DType type, int rows, int columns) => Count().Allocate(type, rows, columns);

    public Tensor AllocateOperand(WeightFormat format, int rows, int columns) => Count().AllocateOperand(format, rows, columns);

    public Tensor Place(Tensor host) => Count().Place(host);

    public bool Supports(WeightFormat format, int columns) => inner.Supports(format, columns);

    public Weight AllocateWeight(WeightFormat format, int rows, int columns) => Count().AllocateWeight(format, rows, columns);

    public WeightError Pack(Tensor host, in Weight target, int firstRow) => Count().Pack(host, target, firstRow);

    public void Upload(ReadOnlySpan<byte> host, Tensor device) => Count().Upload(host, device);

    public void Download(Tensor device, Span<byte> host) => Count().Download(device, host);

    public ReadOnlySpan<byte> Read(Tensor device, Span<byte> staging) => Count().Read(device, staging);

    public void Embed(Tensor table, Tensor ids, Tensor output) => Count().Embed(table, ids, output);

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output) => Count().RmsNorm(x, weight, epsilon, output);

    public void AddRmsNorm(Tensor x, Tensor residual, Tensor weight, float epsilon, Tensor output) => Count().AddRmsNorm(x, residual, weight, epsilon, output);

    public void MatMul(Tensor x, Tensor weight, Tensor output) => Count().MatMul(x, weight, output);

    public void MatMul(Tensor x, in Weight weight, Tensor output) => Count().MatMul(x, weight, output);

    public void AddBias(Tensor x, Tensor bias) => Count().AddBias(x, bias);

    public void Rope(Tensor x, Tensor cosSin, int headDim) => Count().Rope(x, cosSin, headDim);

    public void SiluMultiply(Tensor gate, Tensor up, Tensor output) => Count().SiluMultiply(gate, up, output);

    public void Add(Tensor x, Tensor residual) => Count().Add(x, residual);

    public void WriteKv(Tensor k, Tensor v, in PagedKv cache) => Count().WriteKv(k, v, cache);

    public void RopeWriteKv(Tensor q, Tensor k, Tensor v, Tensor cosSin, in PagedKv cache) => Count().RopeWriteKv(q, k, v, cosSin, cache);

    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output) => Count().Attention(q, cache, probe, output);

    public void Choose(Tensor logits, Tensor orders, Tensor changes, Tensor tokens, Tensor next)
    {
        IBackend backend = Count();
        ReadOnlySpan<TokenOrder> wanted = MemoryMarshal.Cast<byte, TokenOrder>(backend.Read(orders, []));
        int[] chosen = new int[wanted.Length];
        for (int i = 0; i < wanted.Length; i++)
        {
            Assert.Equal((0, 0), (wanted[i].Temperature, wanted[i].Changes));
            ReadOnlySpan<float> row = MemoryMarshal.Cast<byte, float>(backend.Read(logits.RowRange(wanted[i].Row, 1), []));
            chosen[i] = row.IndexOf(LogitRow.Max(row));
            if (wanted[i].Next >= 0)
                backend.Upload(MemoryMarshal.AsBytes(chosen.AsSpan(i, 1)), next.ColumnRange(wanted[i].Next, 1));
        }

        backend.Upload(MemoryMarshal.AsBytes(chosen.AsSpan()), tokens);
    }

    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format)
    {
        if (RefusesMoves)
            throw new InsufficientMemoryException("no memory to move, on purpose");
        Count().MoveSlots(moves, pool, format);
    }

    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format) => Count().PackBlocks(packs, pool, format);

    public RecordedStep Record(Action step) => Count().Record(step);

    public void Dispose() => inner.Dispose();

    private IBackend Count()
    {
        if (OperationsLeft is not int left)
            return inner;
        OperationsLeft = left == 0 ? null : left - 1;
        return left == 0 ? throw new InsufficientMemoryException("no memory, on purpose") : inner;
    }
}
