namespace InferenceService.Engine;

/// <summary>Why the engine refused a request at the door.</summary>
public enum Refusal
{
    /// <summary>Not refused.</summary>
    None,

    /// <summary>Too many waiting requests or prompt tokens: try again later.</summary>
    QueueFull,

    /// <summary>Its KV can never fit the pool.</summary>
    NeverFits,

    /// <summary>Prompt and output exceed the context length.</summary>
    ContextTooLong,

    /// <summary>The KV policy is unknown or does not accept the loaded layout.</summary>
    PolicyNotAllowed,

    /// <summary>The engine drains and takes no new work.</summary>
    ShuttingDown,

    /// <summary>The device refuses every step for want of memory or resources: try again later.</summary>
    DeviceRefuses,

    /// <summary>The engine thread has ended with a fault.</summary>
    EngineDead,
}

/// <summary>An accepted stream, or a refusal with a one-line reason.</summary>
public readonly record struct SubmitResult(GenerationStream? Stream, Refusal Refusal, string? Reason);
