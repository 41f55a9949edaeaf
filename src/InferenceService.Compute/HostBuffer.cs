using System.Runtime.InteropServices;

namespace InferenceService.Compute;

/// <summary>Zeroed host memory on a 64-byte boundary; large buffers ask Linux for 2 MiB pages.</summary>
/// <remarks>
/// Large buffers are mapped straight from the kernel, so they are zero without being touched: a KV pool of many gigabytes costs
/// physical memory only as it fills.
/// </remarks>
public sealed partial class HostBuffer : DeviceBuffer
{
    private const nuint Alignment = 64;
    private const long LargeBytes = 1 << 20;
    private const long HugePage = 2 << 20;

    private const int ProtectReadWrite = 0x1 | 0x2;
    private const int MapPrivateAnonymous = 0x02 | 0x20;
    private const int AdviseHugePage = 14;

    private readonly nint _mapped;
    private readonly long _mappedBytes;
    private nint _address;

    /// <summary>Takes <paramref name="byteLength"/> zeroed bytes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The length is negative.</exception>
    /// <exception cref="InsufficientMemoryException">The system has no such memory.</exception>
    public unsafe HostBuffer(long byteLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        ByteLength = byteLength;
        if (byteLength >= LargeBytes && OperatingSystem.IsLinux())
        {
            _mappedBytes = checked(byteLength + HugePage);
            _mapped = Map(0, (nuint)_mappedBytes, ProtectReadWrite, MapPrivateAnonymous, -1, 0);
            if (_mapped == -1)
                throw new InsufficientMemoryException($"The system refused {byteLength} bytes of memory.");
            _address = (nint)((_mapped + HugePage - 1) & ~(HugePage - 1));
            _ = Advise(_address, (nuint)byteLength, AdviseHugePage); // a wish: without it pages are merely small
        }
        else
        {
            nuint bytes = (nuint)Math.Max(byteLength, 1);
            _address = (nint)NativeMemory.AlignedAlloc(bytes, Alignment);
            NativeMemory.Clear((void*)_address, bytes);
        }

        GC.AddMemoryPressure(Math.Max(byteLength, 1));
    }

    /// <summary>Frees memory that its owner forgot.</summary>
    ~HostBuffer() => Dispose(disposing: false);

    /// <inheritdoc/>
    public override nint Address => _address;

    /// <inheritdoc/>
    public override long ByteLength { get; }

    /// <summary>The bytes [<paramref name="offset"/>, offset + <paramref name="length"/>).</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the buffer.</exception>
    public unsafe Span<byte> Slice(long offset, int length)
    {
        ObjectDisposedException.ThrowIf(_address == 0, this);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (offset < 0 || offset > ByteLength - length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"Bytes {offset}+{length} leave a buffer of {ByteLength} bytes.");
        return new Span<byte>((byte*)_address + offset, length);
    }

    /// <inheritdoc/>
    protected override unsafe void Dispose(bool disposing)
    {
        nint address = Interlocked.Exchange(ref _address, 0);
        if (address == 0)
            return;
        if (_mapped != 0)
            _ = Unmap(_mapped, (nuint)_mappedBytes);
        else
            NativeMemory.AlignedFree((void*)address);
        GC.RemoveMemoryPressure(Math.Max(ByteLength, 1));
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Unmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Advise(nint address, nuint length, int advice);
}
