using InferenceService.Compute;

namespace InferenceService.Cuda.Devices;

/// <summary>All memory of a backend: arenas for what lives as long as it does, and one scratch that grows to the largest step.</summary>
internal sealed class DeviceMemory(CudaDevice device, CudaStream stream, long arenaBytes) : IDisposable
{
    private readonly List<DeviceArena> _arenas = [];
    private DeviceArena? _scratch;

    /// <summary>A zeroed matrix that lives until the backend is disposed.</summary>
    /// <exception cref="CudaException">The device has no such memory.</exception>
    public Tensor Take(DType type, int rows, int columns)
    {
        long bytes = checked((long)rows * columns * type.Size());
        if (_arenas.Count > 0 && _arenas[^1].TryTake(bytes, out long offset))
            return Tensor.Dense(_arenas[^1], offset, type, rows, columns);
        var arena = new DeviceArena(device, stream, Math.Max(bytes, arenaBytes));
        _ = arena.TryTake(bytes, out offset);
        if (bytes >= arenaBytes)
            _arenas.Insert(0, arena); // full: the last one still has room
        else
            _arenas.Add(arena);
        return Tensor.Dense(arena, offset, type, rows, columns);
    }

    /// <summary>Memory for the verb at hand; the next verb takes it over, which the stream's order makes safe.</summary>
    /// <returns>The device address, a multiple of 256.</returns>
    public ulong Scratch(long bytes)
    {
        if (_scratch is null || _scratch.ByteLength < bytes)
        {
            if (_scratch is not null)
                stream.Wait(); // somebody may still be reading it
            _scratch?.Dispose();
            _scratch = null;
            _scratch = new DeviceArena(device, stream, Math.Max(bytes, 1 << 16));
        }

        return (ulong)_scratch.Address;
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
