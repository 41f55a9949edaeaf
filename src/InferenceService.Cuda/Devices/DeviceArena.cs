using InferenceService.Compute;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Devices;

/// <summary>One run of device memory that tensors are cut from, front to back; zeroed, and given back as a whole.</summary>
internal sealed unsafe class DeviceArena : DeviceBuffer
{
    /// <summary>Tensors start at multiples of so many bytes.</summary>
    public const long Alignment = 256;

    private readonly CudaDevice _device;
    private ulong _address;
    private long _taken;

    /// <summary>Takes the memory and zeroes it in stream order.</summary>
    /// <exception cref="CudaException">The device has no such memory.</exception>
    public DeviceArena(CudaDevice device, CudaStream stream, long byteLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(byteLength);
        _device = device;
        ByteLength = byteLength;
        ulong address;
        device.Check(CudaDriver.MemoryAllocate(&address, (nuint)byteLength), "cuMemAlloc", $"{byteLength} bytes");
        _address = address;
        device.Check(CudaDriver.Fill(address, 0, (nuint)byteLength, stream.Handle), "cuMemsetD8Async");
    }

    /// <inheritdoc/>
    public override nint Address => (nint)_address;

    /// <inheritdoc/>
    public override long ByteLength { get; }

    /// <summary>Cuts off the next bytes, if there are so many left.</summary>
    public bool TryTake(long bytes, out long offset)
    {
        offset = (_taken + Alignment - 1) / Alignment * Alignment;
        if (bytes > ByteLength - offset)
            return false;
        _taken = offset + bytes;
        return true;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_address != 0 && disposing && !_device.IsLost)
            _ = CudaDriver.MemoryFree(_address);
        _address = 0;
    }
}
