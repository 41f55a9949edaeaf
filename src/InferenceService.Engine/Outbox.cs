using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine;

/// <summary>Sends what a step brought to the callers. Engine thread only.</summary>
internal sealed class Outbox(TimeProvider time)
{
    /// <summary>Tokens generated, since start.</summary>
    public long GeneratedTokens { get; private set; }

    /// <summary>One event for every sequence that sampled a token or ended.</summary>
    public void Publish(Batch batch)
    {
        long now = time.GetTimestamp();
        foreach (ref readonly BatchItem item in batch.Items)
        {
            Sequence sequence = item.Sequence;
            bool sampled = item.Samples && sequence.Remaining == 1;
            if (!sampled && sequence.Finish == FinishReason.None)
                continue;
            GeneratedTokens += sampled ? 1 : 0;
            int token = sampled ? sequence.Tokens[^1] : -1;
            sequence.Generation.Publish(new GeneratedToken(sequence.Choice, token, sequence.Finish, sequence.Logprobs), now);
            sequence.Logprobs = null;
        }
    }

    /// <summary>The end of a sequence outside a batch.</summary>
    public void PublishEnd(Sequence sequence) =>
        sequence.Generation.Publish(new GeneratedToken(sequence.Choice, -1, sequence.Finish, null), time.GetTimestamp());
}
