using System.Numerics;
using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Engine.Sampling;

/// <summary>Rows whose token the backend chooses itself: gathered over a step, chosen in one call, one number a row comes back.</summary>
/// <remarks>Only where <see cref="IBackend.ChoosesTokens"/>. Gives the tokens that <see cref="Sampler.Choose"/> gives. Allocates when it meets a larger step only.</remarks>
internal sealed class DeviceSampler(IBackend backend)
{
    // Of a step: 768 KiB. Beyond it rows are sampled on the host.
    private const int MostChanges = 1 << 16;

    private TokenOrder[] _orders = new TokenOrder[16];
    private LogitChange[] _changes = new LogitChange[256];
    private int[] _tokens = new int[16];
    private Tensor? _orderMemory, _changeMemory, _tokenMemory;
    private int _changeCount;

    /// <summary>Rows taken.</summary>
    public int Count { get; private set; }

    /// <summary>Takes a row, or refuses: the request wants something of the logits that only the host does.</summary>
    /// <param name="row">Row of the logits; no other sequence may use it after this.</param>
    public bool TryAdd(Sequence sequence, int row)
    {
        SamplerState state = sequence.Sampling;
        SamplingParams sampling = state.Params;
        if (sampling.TopLogprobs >= 0 || !sampling.AllowedTokenIds.IsDefault || !sampling.BadWords.IsDefaultOrEmpty || !state.BiasesAreDistinct
            || sequence.GeneratedCount < Math.Max(sampling.MinTokens, sampling.ForcedTokens.Length))
            return false;
        int first = _changeCount;
        if (!TryAddChanges(state))
        {
            _changeCount = first;
            return false;
        }

        if (Count == _orders.Length)
            Array.Resize(ref _orders, 2 * Count);
        _orders[Count++] = new TokenOrder(
            row, sequence.TokenCount, state.Key, sampling.MinP > 0 ? Math.Log(sampling.MinP) : double.NegativeInfinity,
            state.IsGreedy ? 0 : Math.Max(sampling.Temperature, Sampler.LowestTemperature), sampling.TopP, sampling.RepetitionPenalty,
            sampling.FrequencyPenalty, sampling.PresencePenalty, sampling.TopK, first, _changeCount - first);
        return true;
    }

    /// <summary>Chooses for all rows taken, and forgets them.</summary>
    /// <param name="logits">f32 [rows, vocabulary]; the rows taken are changed.</param>
    /// <returns>A token a row, in the order of <see cref="TryAdd"/>, or one of <see cref="TokenOrder"/>'s words for none; valid until the next call.</returns>
    public ReadOnlySpan<int> Choose(Tensor logits)
    {
        (int count, int changes) = (Count, _changeCount);
        (Count, _changeCount) = (0, 0);
        if (_tokens.Length < count)
            _tokens = new int[_orders.Length];
        Tensor orders = Room(ref _orderMemory, DType.U8, count, TokenOrder.ByteLength);
        Tensor changeRows = Room(ref _changeMemory, DType.I32, Math.Max(1, changes), LogitChange.Words);
        Tensor tokens = Room(ref _tokenMemory, DType.I32, count, 1);
        backend.Upload(MemoryMarshal.AsBytes(_orders.AsSpan(0, count)), orders);
        if (changes > 0)
            backend.Upload(MemoryMarshal.AsBytes(_changes.AsSpan(0, changes)), changeRows);
        backend.Choose(logits, orders, changeRows, tokens);
        Span<int> chosen = _tokens.AsSpan(0, count);
        backend.Download(tokens, MemoryMarshal.AsBytes(chosen));
        return chosen;
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
}
