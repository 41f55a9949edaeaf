using System.Runtime.InteropServices;

namespace InferenceService.Fuzz.Targets;

/// <summary>Memory whose last byte lies before a page that must not be touched: whoever reads on is ended by the system.</summary>
internal sealed partial class GuardedMemory : IDisposable
{
    private const int ReadWrite = 3, None = 0, SharedAnonymous = 0x21;

    private readonly nint _memory;
    private readonly nint _guard;
    private readonly nuint _mapped;

    public GuardedMemory(int maxBytes)
    {
        if (!OperatingSystem.IsLinux())
            throw new PlatformNotSupportedException("Inputs are put before an inaccessible page with Linux's mmap.");
        int page = Environment.SystemPageSize, size = (maxBytes + page - 1) / page * page;
        _mapped = (nuint)(size + page);
        _memory = MapMemory(0, _mapped, ReadWrite, SharedAnonymous, -1, 0);
        _guard = _memory + size;
        if (_memory == -1 || Protect(_guard, (nuint)page, None) != 0)
            throw new InsufficientMemoryException($"mmap of {_mapped} bytes failed.");
    }

    /// <summary>Puts an input before the guard.</summary>
    /// <returns>Its address.</returns>
    public nint Place(byte[] input)
    {
        nint address = _guard - input.Length;
        Marshal.Copy(input, 0, address, input.Length);
        return address;
    }

    public void Dispose() => _ = Unmap(_memory, _mapped);

    [LibraryImport("libc", EntryPoint = "mmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint MapMemory(nint address, nuint length, int protection, int flags, int file, long offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Unmap(nint address, nuint length);
}
