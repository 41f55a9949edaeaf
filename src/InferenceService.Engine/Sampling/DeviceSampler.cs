using System.Numerics;
using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Engine.Sampling;

/// <summary>Rows whose token the backend chooses itself: gathered over a step, chosen in one call, one number a row comes back.</summary>
/// <remarks>
/// Only where <see cref="IBackend.ChoosesTokens"/>. Gives the tokens that <see cref="Sampler.Choose"/> gives. The rows of two steps may be on
/// their way at once. Allocates when it meets a larger step only.
/// </remarks>
internal sealed class DeviceSampler(IBackend backend)
{
    // Of a step: 768 KiB. Beyond it rows are sampled on the host.
    private const int MostChanges = 1 << 16;

    private readonly Rows[] _steps = [new(), new()];
    private TokenOrder[] _orders = new TokenOrder[16];
    private LogitChange[] _changes = new LogitChange[256];
    private Tensor? _orderMemory, _changeMemory, _tokenMemory;
    private int _count;
    private int _changeCount;
    private int _gathering; // of the two steps
    private int _underway;

    /// <summary>Rows taken since the last <see cref="Start"/>.</summary>
    public int Count => _count;

    /// <summary>Takes a row, or refuses: the request wants something of the logits that only the host does.</summary>
    /// <param name="sequence">Whose token.</param>
    /// <param name="row">Row of the logits; no other sequence may use it after this.</param>
    /// <param name="position">Position of the token.</param>
    /// <param name="next">Row of the step that follows, if it runs ahead; −1 = none.</param>
    public bool TryAdd(Sequence sequence, int row, int position, int next)
    {
        SamplerState state = sequence.Sampling;
        SamplingParams sampling = state.Params;
        if (sampling.TopLogprobs >= 0 || !sampling.AllowedTokenIds.IsDefault || !sampling.BadWords.IsDefaultOrEmpty || !state.BiasesAreDistinct
            || position - sequence.PromptLength < Math.Max(sampling.MinTokens, sampling.ForcedTokens.Length))
            return false;
        int first = _changeCount;
        if (!TryAddChanges(state))
        {
            _changeCount = first;
            return false;
        }

        if (_count == _orders.Length)
            Array.Resize(ref _orders, 2 * _count);
        _steps[_gathering].Add(sequence, _count);
        _orders[_count++] = new TokenOrder(
            row, position, state.Key, sampling.MinP > 0 ? Math.Log(sampling.MinP) : double.NegativeInfinity,
            state.IsGreedy ? 0 : Math.Max(sampling.Temperature, SamplingParams.LowestTemperature), sampling.TopP, sampling.RepetitionPenalty,
            sampling.FrequencyPenalty, sampling.PresencePenalty, sampling.TopK, first, _changeCount - first, next);
        return true;
    }

    /// <summary>A row taken since the last <see cref="Start"/>, in the order of <see cref="TryAdd"/>.</summary>
    public (Sequence Sequence, int Row) Taken(int index) => (_steps[_gathering].Of(index), _orders[index].Row);

    /// <summary>Forgets the rows taken since the last <see cref="Start"/>: they are sampled elsewhere, or not at all.</summary>
    public void Forget() => (_count, _changeCount) = (0, 0);

    /// <summary>Chooses for all rows taken, which then wait for <see cref="Finish"/>; two steps at most.</summary>
    /// <remarks>A device that refuses has chosen nothing and changed nothing; the rows are still taken.</remarks>
    /// <param name="logits">f32 [rows, vocabulary]; the rows taken are changed.</param>
    /// <param name="next">i32 [1, rows]: the ids, where <see cref="TryAdd"/> said.</param>
    public void Start(Tensor logits, Tensor next)
    {
        Tensor orders = Room(ref _orderMemory, DType.U8, _count, TokenOrder.ByteLength);
        Tensor changes = Room(ref _changeMemory, DType.I32, Math.Max(1, _changeCount), LogitChange.Words);
        Tensor tokens = Room(ref _tokenMemory, DType.I32, _count, 1);
        backend.Upload(MemoryMarshal.AsBytes(_orders.AsSpan(0, _count)), orders);
        if (_changeCount > 0)
            backend.Upload(MemoryMarshal.AsBytes(_changes.AsSpan(0, _changeCount)), changes);
        _steps[_gathering].Reserve(backend, _count);
        backend.Choose(logits, orders, changes, tokens, next);
        _steps[_gathering].Start(tokens, _count);
        Forget();
        _gathering = 1 - _gathering;
        _underway++;
    }

    /// <summary>Waits for the rows of the oldest <see cref="Start"/>.</summary>
    /// <param name="sequences">Whose they are, in the order of <see cref="TryAdd"/>.</param>
    /// <returns>A token a row, or one of <see cref="TokenOrder"/>'s words for none; valid until the next call.</returns>
    public ReadOnlySpan<int> Finish(out ReadOnlySpan<Sequence> sequences)
    {
        sequences = [];
        if (_underway == 0)
            return [];
        Rows oldest = _steps[_underway == 2 ? _gathering : 1 - _gathering];
        _underway--;
        sequences = oldest.Sequences;
        return oldest.Wait();
    }

    private bool TryAddChanges(SamplerState state)
    {
        SamplingParams sampling = state.Params;
        int most = sampling.LogitBias.Length + (state.Counts?.Count ?? 0);
        if (_changeCount + most > MostChanges)
            return false;
        if (_changeCount + most > _changes.Length)
            Array.Resize(ref _changes, (int)BitOperations.RoundUpToPowerOf2((uint)(_changeCount + most)));
        foreach (LogitBias bias in sampling.LogitBias.AsSpan())
            _changes[_changeCount++] = new LogitChange(bias.TokenId, -1, bias.Bias);
        if (state.Counts is not { } counts)
            return true;
        for (int slot = 0; slot < counts.Capacity; slot++)
        {
            (int id, int generated) = counts.Entry(slot);
            if (id >= 0)
                _changes[_changeCount++] = new LogitChange(id, generated, 0);
        }

        return true;
    }

    private Tensor Room(ref Tensor? memory, DType type, int rows, int columns)
    {
        if (memory is not { } held || held.Rows < rows)
            memory = held = backend.Allocate(type, (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, rows)), columns);
        return held.RowRange(0, rows);
    }

    /// <summary>The rows of one step.</summary>
    private sealed class Rows
    {
        private Sequence[] _sequences = new Sequence[16];
        private Readback? _tokens;
        private int _room;
        private int _count;

        public ReadOnlySpan<Sequence> Sequences => _sequences.AsSpan(0, _count);

        public void Add(Sequence sequence, int row)
        {
            if (row == _sequences.Length)
                Array.Resize(ref _sequences, 2 * row);
            _sequences[row] = sequence;
        }

        public Sequence Of(int row) => _sequences[row];

        public void Reserve(IBackend backend, int count)
        {
            if (_room >= count)
                return;
            _tokens = backend.AllocateReadback(_sequences.Length * sizeof(int));
            _room = _sequences.Length;
        }

        public void Start(Tensor tokens, int count)
        {
            _count = count;
            _tokens!.Start(tokens);
        }

        public ReadOnlySpan<int> Wait() => MemoryMarshal.Cast<byte, int>(_tokens!.Wait());
    }
}
