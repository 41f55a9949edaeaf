namespace InferenceService.Engine.Faults;

/// <summary>A place where tests make things go wrong. The disk of a download has a seam of its own.</summary>
public enum FaultPoint
{
    /// <summary>A step is about to go through the model: an allocation that fails, or a step that takes long.</summary>
    Forward,

    /// <summary>A step has gone through the model, and nothing of it is committed.</summary>
    Commit,

    /// <summary>A step was computed and sampled, and nobody was told: a crash between schedule and publish.</summary>
    Publish,
}

/// <summary>
/// Handed over at composition, by tests only: no configuration, variable or request leads to another than <see cref="NoFaults"/>.
/// </summary>
public interface IFaultInjection
{
    /// <summary>Called on the thread that has come to a point: throws what is to go wrong there, waits, or does nothing.</summary>
    void At(FaultPoint point);
}

/// <summary>Nothing goes wrong but by itself.</summary>
public sealed class NoFaults : IFaultInjection
{
    private NoFaults()
    {
    }

    /// <summary>The only one.</summary>
    public static NoFaults Instance { get; } = new();

    /// <inheritdoc/>
    public void At(FaultPoint point)
    {
    }
}
