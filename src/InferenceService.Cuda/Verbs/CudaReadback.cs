using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Verbs;

/// <summary>Pinned memory and a mark behind the copy into it: the host waits for that copy while the stream goes on.</summary>
/// <remarks>The kernels' fault words come along in front, so that a step whose result is awaited so reports like any other.</remarks>
internal sealed unsafe class CudaReadback : Readback
{
    private const int FaultBytes = FaultRecord.Words * sizeof(int);
    private const uint Portable = 1;

    private readonly CudaDevice _device;
    private readonly CudaStream _stream;
    private readonly FaultRecord _fault;
    private readonly CudaMark _mark;
    private readonly int _room;
    private nint _memory;
    private int _length;

    /// <summary>Takes the memory.</summary>
    public CudaReadback(CudaDevice device, CudaStream stream, FaultRecord fault, int bytes)
    {
        (_device, _stream, _fault, _room) = (device, stream, fault, bytes);
        void* memory;
        device.Check(CudaDriver.HostAllocate(&memory, (nuint)(FaultBytes + bytes), Portable), "cuMemHostAlloc", $"{FaultBytes + bytes} bytes");
        _memory = (nint)memory;
        _mark = new CudaMark(device);
    }

    public override void Start(Tensor device)
    {
        _length = Fit(device, _room);
        _device.MakeCurrent();
        _device.Check(CudaDriver.CopyToHost((byte*)_memory, _fault.Address, FaultBytes, _stream.Handle), "cuMemcpyDtoHAsync");
        _device.Check(CudaDriver.CopyToHost((byte*)_memory + FaultBytes, CudaBackend.Address(device), (nuint)_length, _stream.Handle), "cuMemcpyDtoHAsync");
        _mark.Set(_stream);
    }

    public override ReadOnlySpan<byte> Wait()
    {
        _device.MakeCurrent();
        _mark.Wait();
        _fault.Throw((int*)_memory);
        return new ReadOnlySpan<byte>((byte*)_memory + FaultBytes, _length);
    }

    protected override void Dispose(bool disposing)
    {
        if (_memory == 0)
            return;
        _mark.Dispose();
        if (!_device.IsLost)
            _ = CudaDriver.HostFree((void*)_memory);
        _memory = 0;
    }
}
