using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine;

/// <summary>Sends what a step brought to the callers, and knows every request whose caller still waits. Engine thread only.</summary>
internal sealed class Outbox(TimeProvider time)
{
    private readonly HashSet<Generation> _open = [];

    /// <summary>Tokens generated, since start.</summary>
    public long GeneratedTokens { get; private set; }

    /// <summary>Counts the tokens of a step, before anybody is sent one: who has a token finds it counted.</summary>
    public void Count(Batch batch)
    {
        foreach (ref readonly BatchItem item in batch.Items)
            GeneratedTokens += HasToken(item) ? 1 : 0;
    }

    /// <summary>One event for every sequence that sampled a token or ended.</summary>
    public void Publish(Batch batch)
    {
        long now = time.GetTimestamp();
        foreach (ref readonly BatchItem item in batch.Items)
        {
            Sequence sequence = item.Sequence;
            bool sampled = HasToken(item);
            if (!sampled && sequence.Finish == FinishReason.None)
                continue;
            int token = sampled ? sequence.Tokens[^1] : -1;
            Send(sequence, token, now);
        }
    }

    /// <summary>A caller waits for all choices of this request.</summary>
    public void Open(Generation generation) => _open.Add(generation);

    /// <summary>The end of a sequence outside a batch.</summary>
    public void PublishEnd(Sequence sequence) => Send(sequence, -1, time.GetTimestamp());

    /// <summary>Ends everything that has not ended yet, wherever it stands, with an error.</summary>
    public void FailAll(string error)
    {
        foreach (Generation generation in _open)
        {
            foreach (Sequence sequence in generation.Sequences)
            {
                if (sequence.HasSentEnd)
                    continue;
                sequence.Fail(error);
                sequence.HasSentEnd = true;
                generation.Publish(new GeneratedToken(sequence.Choice, -1, FinishReason.Error, null), now: 0);
            }
        }

        _open.Clear();
    }

    private static bool HasToken(in BatchItem item) => item.Samples && item.Sequence.Remaining == 1;

    private void Send(Sequence sequence, int token, long now)
    {
        sequence.HasSentEnd = sequence.Finish != FinishReason.None; // first, so that a fault below never sends the end twice
        sequence.Generation.Publish(new GeneratedToken(sequence.Choice, token, sequence.Finish, sequence.Logprobs), now);
        sequence.Logprobs = null;
        if (sequence.HasSentEnd && sequence.Generation.HasEnded)
            _open.Remove(sequence.Generation);
    }
}
