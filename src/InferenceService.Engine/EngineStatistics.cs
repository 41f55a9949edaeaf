namespace InferenceService.Engine;

/// <summary>What the engine thread last published, for metrics and health; reading never takes a lock.</summary>
/// <param name="Running">Choices in the batch.</param>
/// <param name="Waiting">Choices waiting for admission.</param>
/// <param name="BlocksTotal">Blocks of the pool.</param>
/// <param name="BlocksUsed">Blocks owned by at least one sequence.</param>
/// <param name="BlocksCached">Unowned blocks that still hold a reusable prefix.</param>
/// <param name="Preemptions">Sequences put back to waiting, since start.</param>
/// <param name="PrefixQueryTokens">Prompt tokens looked up in the prefix cache, each request once.</param>
/// <param name="PrefixHitTokens">Of these, found.</param>
/// <param name="PromptTokens">Prompt tokens of admitted requests.</param>
/// <param name="GeneratedTokens">Tokens generated.</param>
/// <param name="Steps">Steps taken.</param>
/// <param name="StepSeconds">Time spent in steps, since start.</param>
/// <param name="HostSeconds">Of this, outside model and sampler: scheduling, packing, compressing, retiring.</param>
public readonly record struct EngineStatistics(
    int Running, int Waiting, int BlocksTotal, int BlocksUsed, int BlocksCached, long Preemptions, long PrefixQueryTokens,
    long PrefixHitTokens, long PromptTokens, long GeneratedTokens, long Steps, double StepSeconds, double HostSeconds);

/// <summary>State of the engine thread.</summary>
public enum EngineState
{
    /// <summary>Takes work.</summary>
    Running,

    /// <summary>Finishes what it has, takes no more.</summary>
    Draining,

    /// <summary>Ended in order.</summary>
    Stopped,

    /// <summary>Ended by a fault.</summary>
    Dead,
}
