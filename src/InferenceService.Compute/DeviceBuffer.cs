namespace InferenceService.Compute;

/// <summary>One run of memory that a backend can read: host memory, a mapped file, or device memory.</summary>
/// <remarks>Owned by whoever created it; <see cref="Tensor"/> is only a view and never frees.</remarks>
public abstract class DeviceBuffer : IDisposable
{
    /// <summary>First byte, as the backend addresses it. Only kernels dereference it.</summary>
    public abstract nint Address { get; }

    /// <summary>Length in bytes.</summary>
    public abstract long ByteLength { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the memory back. Called once from <see cref="Dispose()"/>.</summary>
    protected abstract void Dispose(bool disposing);
}
