using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Devices;

/// <summary>A queue of work on a device; never the legacy default one.</summary>
internal sealed unsafe class CudaStream : IDisposable
{
    private const uint NonBlocking = 1;

    private readonly CudaDevice _device;

    /// <summary>Creates the stream.</summary>
    public CudaStream(CudaDevice device)
    {
        _device = device;
        device.MakeCurrent();
        nint handle;
        device.Check(CudaDriver.StreamCreate(&handle, NonBlocking, 0), "cuStreamCreateWithPriority");
        Handle = handle;
    }

    /// <summary>The driver's handle.</summary>
    public nint Handle { get; }

    /// <summary>Waits for everything in the queue.</summary>
    public void Wait() => _device.Check(CudaDriver.StreamSynchronize(Handle), "cuStreamSynchronize");

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_device.IsLost)
            _ = CudaDriver.StreamDestroy(Handle);
    }
}
