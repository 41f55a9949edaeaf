using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Devices;

/// <summary>Pinned host buffers that all copies between host and device go through, so that a caller's memory is free on return.</summary>
/// <remarks>
/// Uploads fill a buffer one behind the other; only when it is full is the next taken, as soon as the device has read what that held: each has
/// a mark behind its last copy. The small uploads of many steps so wait for nothing.
/// </remarks>
internal sealed unsafe class StagingRing : IDisposable
{
    private const int Buffers = 3, Alignment = 16;
    private const uint Portable = 1;

    private readonly CudaDevice _device;
    private readonly CudaStream _stream;
    private readonly int _bytes;
    private readonly nint[] _memory = new nint[Buffers + 1]; // the last one for the way back
    private readonly CudaMark[] _marks = new CudaMark[Buffers];
    private int _current;
    private int _used;

    /// <summary>A step is being recorded: its copies would read what later steps put into the buffers.</summary>
    public bool IsRecording { get; set; }

    /// <summary>Takes the buffers.</summary>
    /// <param name="bytes">Bytes of each.</param>
    public StagingRing(CudaDevice device, CudaStream stream, int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        (_device, _stream, _bytes) = (device, stream, bytes);
        for (int i = 0; i < _memory.Length; i++)
        {
            void* memory;
            device.Check(CudaDriver.HostAllocate(&memory, (nuint)bytes, Portable), "cuMemHostAlloc", $"{bytes} bytes");
            _memory[i] = (nint)memory;
        }

        for (int i = 0; i < Buffers; i++)
            _marks[i] = new CudaMark(device);
    }

    /// <summary>Copies to the device in stream order; the source may change on return.</summary>
    public void Upload(byte* source, long bytes, ulong target)
    {
        Refuse();
        for (long done = 0; done < bytes;)
        {
            if (_used >= _bytes)
                Turn();
            long piece = Math.Min(_bytes - _used, bytes - done);
            byte* staged = (byte*)_memory[_current] + _used;
            Buffer.MemoryCopy(source + done, staged, piece, piece);
            _device.Check(CudaDriver.CopyToDevice(target + (ulong)done, staged, (nuint)piece, _stream.Handle), "cuMemcpyHtoDAsync");
            _used += (int)(piece + Alignment - 1) / Alignment * Alignment;
            done += piece;
        }
    }

    /// <summary>Waits for the stream and copies to the host.</summary>
    public void Download(ulong source, byte* target, long bytes) => Download(source, target, bytes, 0, null, 0);

    /// <summary>The same with a few more bytes from elsewhere, in one wait where all fits a buffer.</summary>
    public void Download(ulong source, byte* target, long bytes, ulong also, byte* alsoTo, int alsoBytes)
    {
        Refuse();
        byte* staged = (byte*)_memory[Buffers];
        if (alsoBytes > 0)
            _device.Check(CudaDriver.CopyToHost(staged, also, (nuint)alsoBytes, _stream.Handle), "cuMemcpyDtoHAsync");
        int start = (alsoBytes + Alignment - 1) / Alignment * Alignment;
        long done = 0;
        do
        {
            long piece = Math.Min(_bytes - start, bytes - done);
            if (piece > 0)
                _device.Check(CudaDriver.CopyToHost(staged + start, source + (ulong)done, (nuint)piece, _stream.Handle), "cuMemcpyDtoHAsync");
            _stream.Wait();
            if (done == 0 && alsoBytes > 0)
                Buffer.MemoryCopy(staged, alsoTo, alsoBytes, alsoBytes);
            Buffer.MemoryCopy(staged + start, target + done, piece, piece);
            done += piece;
        }
        while (done < bytes);
        _used = 0; // nothing is on its way any more
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (CudaMark? mark in _marks)
            mark?.Dispose();
        foreach (nint memory in _memory)
        {
            if (memory != 0 && !_device.IsLost)
                _ = CudaDriver.HostFree((void*)memory);
        }
    }

    private void Refuse()
    {
        if (IsRecording)
            throw new InvalidOperationException("A recorded step may not copy between host and device.");
    }

    private void Turn()
    {
        _marks[_current].Set(_stream);
        _current = (_current + 1) % Buffers;
        _marks[_current].Wait();
        _used = 0;
    }
}
