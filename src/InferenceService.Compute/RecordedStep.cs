namespace InferenceService.Compute;

/// <summary>Operations that a backend recorded once and repeats in one call; see <see cref="IBackend.Record"/>. Ends with its backend, or before.</summary>
public abstract class RecordedStep : IDisposable
{
    /// <summary>Runs the operations again, in the order of the other calls, over what their tensors hold then.</summary>
    public abstract void Replay();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives back what the recording holds. Called once from <see cref="Dispose()"/>.</summary>
    protected abstract void Dispose(bool disposing);
}
