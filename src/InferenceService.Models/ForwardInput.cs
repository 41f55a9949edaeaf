using InferenceService.Compute;

namespace InferenceService.Models;

/// <summary>One forward pass: rows of all sequences, concatenated, and what they see of the cache.</summary>
/// <remarks>Host spans are copied before <see cref="DecoderModel.Forward"/> returns.</remarks>
public readonly ref struct ForwardInput
{
    /// <summary>[rows] token ids, each inside the vocabulary.</summary>
    public required ReadOnlySpan<int> TokenIds { get; init; }

    /// <summary>
    /// The ids are on the device already, in <see cref="DecoderModel.TokenIds"/>, where an operation called before wrote them;
    /// <see cref="TokenIds"/> only says how many.
    /// </summary>
    public bool TokenIdsInPlace { get; init; }

    /// <summary>[rows] position of each token in its text (RoPE), fixed for life.</summary>
    public required ReadOnlySpan<int> Positions { get; init; }

    /// <summary>
    /// [rows] position at which each query meets the sinks of its sequence, at most its own position; empty where no sequence has sinks
    /// and a window (<see cref="PagedKv.SinkQueries"/>).
    /// </summary>
    public ReadOnlySpan<int> SinkPositions { get; init; }

    /// <summary>Rows whose logits are wanted, ascending; may be empty.</summary>
    public required ReadOnlySpan<int> LogitRows { get; init; }

    /// <summary>Row of the logits buffer that the first wanted row goes to: several passes of one step then share the buffer.</summary>
    public int FirstLogit { get; init; }

    /// <summary>
    /// The same tables as <see cref="Kv"/> for the wanted rows alone, lengths up to the slot before each sequence's first of them; lets
    /// the other rows end at the last layer that owns a cache. Null: they go on to the last layer. Logits are the same bit for bit.
    /// </summary>
    public KvBatch? LogitKv { get; init; }

    /// <summary>
    /// Steps of this shape come again and again, one row a sequence and logits for every row: a backend that can records the first and
    /// repeats it. The tensors of <see cref="Kv"/> and <see cref="Probe"/> are then the same every time.
    /// </summary>
    public bool Repeats { get; init; }

    /// <summary>Cache tables before the step, covering the slots of this step.</summary>
    public required KvBatch Kv { get; init; }

    /// <summary>Sums over attention rows to accumulate; <see cref="AttentionProbe.LayerRow"/> is set by the model.</summary>
    public AttentionProbe Probe { get; init; }
}
