using InferenceService.Engine.Faults;

namespace InferenceService.Engine.Tests.Faults;

/// <summary>Does what a test says wherever the engine comes by.</summary>
internal sealed class FaultsOnPurpose : IFaultInjection
{
    /// <summary>Before a step goes through the model.</summary>
    public Action? OnForward { get; set; }

    /// <summary>Before it is committed.</summary>
    public Action? OnCommit { get; set; }

    /// <summary>Before anybody is told.</summary>
    public Action? OnPublish { get; set; }

    public void At(FaultPoint point)
    {
        Action? action = point switch
        {
            FaultPoint.Forward => OnForward,
            FaultPoint.Commit => OnCommit,
            FaultPoint.Publish => OnPublish,
            _ => null,
        };
        action?.Invoke();
    }
}
