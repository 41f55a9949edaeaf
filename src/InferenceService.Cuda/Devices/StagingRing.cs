using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Devices;

/// <summary>Pinned host buffers that all copies between host and device go through, so that a caller's memory is free on return.</summary>
/// <remarks>A buffer is filled again only when the device has read what it held: each has a mark behind its last copy.</remarks>
internal sealed unsafe class StagingRing : IDisposable
{
    private const int Buffers = 3;
    private const uint Portable = 1;

    private readonly CudaDevice _device;
    private readonly CudaStream _stream;
    private readonly int _bytes;
    private readonly nint[] _memory = new nint[Buffers];
    private readonly CudaMark[] _marks = new CudaMark[Buffers];
    private int _next;

    /// <summary>A step is being recorded: its copies would read what later steps put into the buffers.</summary>
    public bool IsRecording { get; set; }

    /// <summary>Takes the buffers.</summary>
    /// <param name="bytes">Bytes of each.</param>
    public StagingRing(CudaDevice device, CudaStream stream, int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        (_device, _stream, _bytes) = (device, stream, bytes);
        for (int i = 0; i < Buffers; i++)
        {
            void* memory;
            device.Check(CudaDriver.HostAllocate(&memory, (nuint)bytes, Portable), "cuMemHostAlloc", $"{bytes} bytes");
            _memory[i] = (nint)memory;
            _marks[i] = new CudaMark(device);
        }
    }

    /// <summary>Copies to the device in stream order; the source may change on return.</summary>
    public void Upload(byte* source, long bytes, ulong target)
    {
        for (long done = 0; done < bytes; done += _bytes)
        {
            long piece = Math.Min(_bytes, bytes - done);
            int buffer = Next();
            Buffer.MemoryCopy(source + done, (void*)_memory[buffer], _bytes, piece);
            _device.Check(CudaDriver.CopyToDevice(target + (ulong)done, (void*)_memory[buffer], (nuint)piece, _stream.Handle), "cuMemcpyHtoDAsync");
            _marks[buffer].Set(_stream);
        }
    }

    /// <summary>Waits for the stream and copies to the host.</summary>
    public void Download(ulong source, byte* target, long bytes)
    {
        for (long done = 0; done < bytes; done += _bytes)
        {
            long piece = Math.Min(_bytes, bytes - done);
            int buffer = Next();
            _device.Check(CudaDriver.CopyToHost((void*)_memory[buffer], source + (ulong)done, (nuint)piece, _stream.Handle), "cuMemcpyDtoHAsync");
            _stream.Wait();
            Buffer.MemoryCopy((void*)_memory[buffer], target + done, piece, piece);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = 0; i < Buffers; i++)
        {
            _marks[i]?.Dispose();
            if (_memory[i] != 0 && !_device.IsLost)
                _ = CudaDriver.HostFree((void*)_memory[i]);
        }
    }

    private int Next()
    {
        if (IsRecording)
            throw new InvalidOperationException("A recorded step may not copy between host and device.");
        int buffer = _next;
        _next = (_next + 1) % Buffers;
        _marks[buffer].Wait();
        return buffer;
    }
}
