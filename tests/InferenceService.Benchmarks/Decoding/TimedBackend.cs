using System.Diagnostics;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>A backend that notes the time spent inside its verbs, and between the beginnings of decode steps.</summary>
/// <remarks>
/// A step begins when token ids are looked up in the embedding. Only steps of exactly <see cref="WatchedRows"/> rows that follow one
/// another count, so neither prompts nor the idle time between requests do. Engine thread only; read when the engine is idle.
/// </remarks>
internal sealed class TimedBackend(IBackend inner, int vocabulary) : IBackend
{
    private long _stepBegan;
    private long _verbs;
    private long _verbsAtStep;
    private bool _wasWatched;

    /// <summary>Rows of the steps to count; 0 = none.</summary>
    public int WatchedRows { get; set; }

    /// <summary>Seconds of each step counted.</summary>
    public Distribution Steps { get; private set; } = new();

    /// <summary>Seconds of each of these outside verbs.</summary>
    public Distribution Outside { get; private set; } = new();

    public string Name => inner.Name;

    /// <summary>Forgets what was counted.</summary>
    public void Reset() => (Steps, Outside, _wasWatched) = (new(), new(), false);

    public Tensor Allocate(DType type, int rows, int columns) => inner.Allocate(type, rows, columns);

    public Tensor Place(Tensor host) => inner.Place(host);

    public bool Supports(WeightFormat format, int columns) => inner.Supports(format, columns);

    public Weight AllocateWeight(WeightFormat format, int rows, int columns) => inner.AllocateWeight(format, rows, columns);

    public WeightError Pack(Tensor host, in Weight target, int firstRow) => inner.Pack(host, target, firstRow);

    public void Upload(ReadOnlySpan<byte> host, Tensor device)
    {
        long began = Stopwatch.GetTimestamp();
        inner.Upload(host, device);
        Note(began);
    }

    public void Download(Tensor device, Span<byte> host)
    {
        long began = Stopwatch.GetTimestamp();
        inner.Download(device, host);
        Note(began);
    }

    public ReadOnlySpan<byte> Read(Tensor device, Span<byte> staging)
    {
        long began = Stopwatch.GetTimestamp();
        ReadOnlySpan<byte> read = inner.Read(device, staging);
        Note(began);
        return read;
    }

    public void Embed(Tensor table, Tensor ids, Tensor output)
    {
        long began = Stopwatch.GetTimestamp();
        if (table.Rows == vocabulary)
            BeginStep(output.Rows, began);
        inner.Embed(table, ids, output);
        Note(began);
    }

    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output)
    {
        long began = Stopwatch.GetTimestamp();
        inner.RmsNorm(x, weight, epsilon, output);
        Note(began);
    }

    public void AddRmsNorm(Tensor x, Tensor residual, Tensor weight, float epsilon, Tensor output)
    {
        long began = Stopwatch.GetTimestamp();
        inner.AddRmsNorm(x, residual, weight, epsilon, output);
        Note(began);
    }

    public void MatMul(Tensor x, Tensor weight, Tensor output)
    {
        long began = Stopwatch.GetTimestamp();
        inner.MatMul(x, weight, output);
        Note(began);
    }

    public void MatMul(Tensor x, in Weight weight, Tensor output)
    {
        long began = Stopwatch.GetTimestamp();
        inner.MatMul(x, weight, output);
        Note(began);
    }

    public void AddBias(Tensor x, Tensor bias)
    {
        long began = Stopwatch.GetTimestamp();
        inner.AddBias(x, bias);
        Note(began);
    }

    public void Rope(Tensor x, Tensor cosSin, int headDim)
    {
        long began = Stopwatch.GetTimestamp();
        inner.Rope(x, cosSin, headDim);
        Note(began);
    }

    public void SiluMultiply(Tensor gate, Tensor up, Tensor output)
    {
        long began = Stopwatch.GetTimestamp();
        inner.SiluMultiply(gate, up, output);
        Note(began);
    }

    public void Add(Tensor x, Tensor residual)
    {
        long began = Stopwatch.GetTimestamp();
        inner.Add(x, residual);
        Note(began);
    }

    public void WriteKv(Tensor k, Tensor v, in PagedKv cache)
    {
        long began = Stopwatch.GetTimestamp();
        inner.WriteKv(k, v, cache);
        Note(began);
    }

    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output)
    {
        long began = Stopwatch.GetTimestamp();
        inner.Attention(q, cache, probe, output);
        Note(began);
    }

    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format)
    {
        long began = Stopwatch.GetTimestamp();
        inner.MoveSlots(moves, pool, format);
        Note(began);
    }

    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format)
    {
        long began = Stopwatch.GetTimestamp();
        inner.PackBlocks(packs, pool, format);
        Note(began);
    }

    public void Dispose() => inner.Dispose();

    private void Note(long began) => _verbs += Stopwatch.GetTimestamp() - began;

    private void BeginStep(int rows, long now)
    {
        if (_wasWatched)
        {
            long step = now - _stepBegan;
            Steps.Add(step / (double)Stopwatch.Frequency);
            Outside.Add((step - (_verbs - _verbsAtStep)) / (double)Stopwatch.Frequency);
        }

        (_stepBegan, _verbsAtStep, _wasWatched) = (now, _verbs, rows == WatchedRows);
    }
}
