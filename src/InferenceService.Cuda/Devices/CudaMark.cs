using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Devices;

/// <summary>A point in a stream that can be waited for. Takes no time.</summary>
internal sealed unsafe class CudaMark : IDisposable
{
    private const uint NoTimingBlocking = 2 | 1;

    private readonly CudaDevice _device;
    private readonly nint _handle;

    /// <summary>Creates the mark; nothing has happened yet, so waiting returns at once.</summary>
    public CudaMark(CudaDevice device)
    {
        _device = device;
        nint handle;
        device.Check(CudaDriver.EventCreate(&handle, NoTimingBlocking), "cuEventCreate");
        _handle = handle;
    }

    /// <summary>The work enqueued so far.</summary>
    public void Set(CudaStream stream) => _device.Check(CudaDriver.EventRecord(_handle, stream.Handle), "cuEventRecord");

    /// <summary>Waits until the work before the last <see cref="Set"/> is done.</summary>
    public void Wait() => _device.Check(CudaDriver.EventSynchronize(_handle), "cuEventSynchronize");

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_device.IsLost)
            _ = CudaDriver.EventDestroy(_handle);
    }
}
