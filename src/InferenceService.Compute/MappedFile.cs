using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace InferenceService.Compute;

/// <summary>A file mapped read-only into memory: weights are read where they lie, by the page.</summary>
/// <remarks>The file must not be shortened while it is mapped: the system ends a process that reads a page that is gone.</remarks>
public sealed partial class MappedFile : DeviceBuffer
{
    private const int AdviseWillNeed = 3;
    private const int AdviseDontNeed = 4;

    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private nint _address;

    private MappedFile(nint address, long byteLength) => (_address, ByteLength) = (address, byteLength);

    private unsafe MappedFile(MemoryMappedFile file, MemoryMappedViewAccessor view, long byteLength)
    {
        _file = file;
        _view = view;
        ByteLength = byteLength;
        byte* pointer = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _address = (nint)(pointer + view.PointerOffset);
    }

    /// <inheritdoc/>
    public override nint Address => _address;

    /// <inheritdoc/>
    public override long ByteLength { get; }

    /// <summary>Maps the whole of a file.</summary>
    /// <exception cref="InvalidDataException">The file is empty.</exception>
    /// <exception cref="IOException">The file cannot be opened or mapped.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static MappedFile Open(string path)
    {
        var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        MemoryMappedFile? file = null;
        MemoryMappedViewAccessor? view = null;
        try
        {
            long length = stream.Length;
            if (length == 0)
                throw new InvalidDataException($"{path} is empty.");
            file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
            view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            return new MappedFile(file, view, length);
        }
        catch
        {
            view?.Dispose();
            file?.Dispose();
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Memory of the caller's as if it were a mapped file. Fuzzing puts files right before a page that must not be read.</summary>
    internal static MappedFile Over(nint address, long byteLength) => new(address, byteLength);

    /// <summary>The bytes [<paramref name="offset"/>, offset + <paramref name="length"/>).</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    public unsafe ReadOnlySpan<byte> Slice(long offset, int length)
    {
        ObjectDisposedException.ThrowIf(_address == 0, this);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (offset < 0 || offset > ByteLength - length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"Bytes {offset}+{length} leave a file of {ByteLength} bytes.");
        return new ReadOnlySpan<byte>((byte*)_address + offset, length);
    }

    /// <summary>These bytes will be read soon: the system may fetch them ahead. A wish, and one that Linux alone hears.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    public void Expect(long offset, long length) => Advise(offset, length, AdviseWillNeed);

    /// <summary>These bytes will not be read soon: this process lets go of their pages. Reading them again is right, and slower.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    public void Release(long offset, long length) => Advise(offset, length, AdviseDontNeed);

    private void Advise(long offset, long length, int advice)
    {
        ObjectDisposedException.ThrowIf(_address == 0, this);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (offset < 0 || offset > ByteLength - length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"Bytes {offset}+{length} leave a file of {ByteLength} bytes.");
        if (!OperatingSystem.IsLinux())
            return;
        // Whole pages, inwards: neighbours on the first and last page keep theirs.
        long page = Environment.SystemPageSize, from = (_address + offset + page - 1) / page * page, to = (_address + offset + length) / page * page;
        if (from < to)
            _ = Advise((nint)from, (nuint)(to - from), advice);
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Advise(nint address, nuint length, int advice);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (Interlocked.Exchange(ref _address, 0) == 0)
            return;
        _view?.SafeMemoryMappedViewHandle.ReleasePointer();
        _view?.Dispose();
        _file?.Dispose();
    }
}
