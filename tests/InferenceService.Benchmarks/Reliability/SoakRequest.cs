namespace InferenceService.Benchmarks.Reliability;

/// <summary>What its client does with a request.</summary>
internal enum SoakKind
{
    /// <summary>Reads the answer to its end.</summary>
    Complete,

    /// <summary>Leaves before it.</summary>
    Leave,

    /// <summary>Sends what must be refused.</summary>
    Invalid,
}

/// <summary>One request of a soak, wholly decided by its number and the soak's seed.</summary>
/// <param name="Kind">What the client does.</param>
/// <param name="Path">Route.</param>
/// <param name="Fields">JSON fields of the body but <c>stream</c>, without braces.</param>
/// <param name="Stream">The answer is to be streamed.</param>
/// <param name="Choices">How many it must have.</param>
/// <param name="Policy">KV policy that it names.</param>
internal sealed record SoakRequest(SoakKind Kind, string Path, string Fields, bool Stream, int Choices, string Policy)
{
    /// <summary>Events after which the client leaves; null = by time.</summary>
    public int? LeaveAfterEvents { get; init; }

    /// <summary>Time after which the client leaves.</summary>
    public TimeSpan LeaveAfter { get; init; }

    /// <summary>What is wrong with it.</summary>
    public InvalidRequest? Mistake { get; init; }

    /// <summary>The body, streamed or not.</summary>
    public byte[] Body(bool stream) => System.Text.Encoding.UTF8.GetBytes(
        $"{{{Fields}{(stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "")}}}");
}
