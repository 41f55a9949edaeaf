using System.Runtime.InteropServices;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>Machine code made at start-up: written while its pages can be written, run once they no longer can.</summary>
/// <remarks>Pages are never writable and executable at once, so systems that forbid that are content.</remarks>
internal sealed unsafe partial class ExecutableMemory : IDisposable
{
    private const int ProtectReadWrite = 0x1 | 0x2, ProtectReadExecute = 0x1 | 0x4, MapPrivateAnonymous = 0x02 | 0x20;
    private const uint Commit = 0x1000 | 0x2000, Release = 0x8000, PageReadWrite = 0x04, PageExecuteRead = 0x20;

    private readonly nuint _length;
    private nint _address;

    private ExecutableMemory(nint address, nuint length) => (_address, _length) = (address, length);

    /// <summary>First byte of the code.</summary>
    public nint Address => _address;

    /// <summary>Takes pages, copies the code into them and makes them executable; null when the system refuses either.</summary>
    public static ExecutableMemory? TryCreate(ReadOnlySpan<byte> code)
    {
        nuint length = (nuint)Math.Max(code.Length, 1);
        nint address = OperatingSystem.IsWindows() ? VirtualAlloc(0, length, Commit, PageReadWrite)
            : OperatingSystem.IsLinux() ? Map(0, length, ProtectReadWrite, MapPrivateAnonymous, -1, 0)
            : -1; // other systems have other constants
        if (address is 0 or -1)
            return null;
        var memory = new ExecutableMemory(address, length);
        code.CopyTo(new Span<byte>((void*)address, code.Length));
        bool sealedNow = OperatingSystem.IsWindows()
            ? VirtualProtect(address, length, PageExecuteRead, out _) != 0
            : Protect(address, length, ProtectReadExecute) == 0;
        if (sealedNow)
            return memory;
        memory.Dispose();
        return null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        nint address = Interlocked.Exchange(ref _address, 0);
        if (address == 0)
            return;
        if (OperatingSystem.IsWindows())
            _ = VirtualFree(address, 0, Release);
        else
            _ = Unmap(address, _length);
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int Unmap(nint address, nuint length);

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint VirtualAlloc(nint address, nuint length, uint type, uint protection);

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int VirtualProtect(nint address, nuint length, uint protection, out uint before);

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int VirtualFree(nint address, nuint length, uint type);
}
