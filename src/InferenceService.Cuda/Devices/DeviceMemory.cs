using InferenceService.Compute;

namespace InferenceService.Cuda.Devices;

/// <summary>All memory of a backend: arenas for what lives as long as it does, and one scratch that grows to the largest step.</summary>
internal sealed class DeviceMemory(CudaDevice device, CudaStream stream, long arenaBytes) : IDisposable
{
    private const int LargeTensors = 16; // an arena's share from which on a tensor gets one of its own, so that little is left over at an arena's end

    private readonly List<DeviceArena> _arenas = [];
    private DeviceArena? _scratch;
    private bool _scratchIsRecorded;

    /// <summary>A step is being recorded: nothing may be allocated.</summary>
    public bool IsRecording { get; set; }

    /// <summary>A zeroed matrix that lives until the backend is disposed.</summary>
    /// <exception cref="CudaException">The device has no such memory.</exception>
    public Tensor Take(DType type, int rows, int columns)
    {
        Refuse("tensor");
        long bytes = checked((long)rows * columns * type.Size());
        if (bytes < arenaBytes / LargeTensors && _arenas.Count > 0 && _arenas[^1].TryTake(bytes, out long offset))
            return Tensor.Dense(_arenas[^1], offset, type, rows, columns);
        bool alone = bytes >= arenaBytes / LargeTensors;
        var arena = new DeviceArena(device, stream, alone ? Math.Max(bytes, 1) : arenaBytes);
        _ = arena.TryTake(bytes, out offset);
        _arenas.Insert(alone ? 0 : _arenas.Count, arena); // the last one still has room
        return Tensor.Dense(arena, offset, type, rows, columns);
    }

    /// <summary>Memory for the verb at hand; the next verb takes it over, which the stream's order makes safe.</summary>
    /// <returns>The device address, a multiple of 256.</returns>
    public ulong Scratch(long bytes)
    {
        if (_scratch is null || _scratch.ByteLength < bytes)
        {
            Refuse("scratch");
            Retire();
            _scratch = new DeviceArena(device, stream, Math.Max(bytes, 1 << 16));
        }

        _scratchIsRecorded |= IsRecording;
        return (ulong)_scratch.Address;
    }

    /// <summary>Gives the scratch back, unless a recorded step holds its address.</summary>
    private void Retire()
    {
        if (_scratch is null)
            return;
        if (_scratchIsRecorded)
            _arenas.Insert(0, _scratch);
        else
        {
            stream.Wait(); // somebody may still be reading it
            _scratch.Dispose();
        }

        (_scratch, _scratchIsRecorded) = (null, false);
    }

    private void Refuse(string what)
    {
        if (IsRecording)
            throw new InvalidOperationException($"A recorded step wants new memory for a {what}: take the step once before recording it.");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _scratch?.Dispose();
        foreach (DeviceArena arena in _arenas)
            arena.Dispose();
        _arenas.Clear();
    }
}
