using System.Runtime.InteropServices;

namespace InferenceService.Cuda.Modules;

/// <summary>Compiled kernels on disk, one file a key. What cannot be read is compiled again, what cannot be written is not kept.</summary>
/// <remarks>
/// A cubin is code that runs with the service's rights on the GPU: only files of this user in a folder that nobody else may write to are
/// taken. Files appear under their names only when they are complete.
/// </remarks>
internal sealed partial class CubinCache
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private readonly string? _folder;

    /// <summary>A cache in a folder, which is made if it is not there; null keeps nothing.</summary>
    public CubinCache(string? folder)
    {
        if (folder is null || !OperatingSystem.IsLinux())
            return;
        try
        {
            Directory.CreateDirectory(folder, OwnerOnly);
            _folder = IsOurs(folder) ? folder : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _folder = null;
        }
    }

    /// <summary>Whether anything is kept.</summary>
    public bool IsUsable => _folder is not null;

    /// <summary>The image of a key, or null.</summary>
    public byte[]? Read(string key)
    {
        if (_folder is null)
            return null;
        string path = Path.Combine(_folder, key + ".cubin");
        try
        {
            if (!File.Exists(path) || !IsOurs(path))
                return null;
            byte[] image = File.ReadAllBytes(path);
            return image.Length > 0 ? image : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Keeps an image, if it can.</summary>
    public void Write(string key, byte[] image)
    {
        if (_folder is null || !OperatingSystem.IsLinux())
            return;
        string temporary = Path.Combine(_folder, $"{key}.{Environment.ProcessId}.{Environment.CurrentManagedThreadId}.new");
        try
        {
            File.WriteAllBytes(temporary, image);
            File.SetUnixFileMode(temporary, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            File.Move(temporary, Path.Combine(_folder, key + ".cubin"), overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Memory only: the next start compiles again.
        }
    }


    private static unsafe bool IsOurs(string path)
    {
        // statx has the same layout on every Linux: uid at byte 20, mode at byte 28 (linux/stat.h).
        byte* status = stackalloc byte[256];
        nint name = Marshal.StringToCoTaskMemUTF8(path);
        try
        {
            const int workingFolder = -100, doNotFollow = 0x100;
            const uint modeAndUid = 0x2 | 0x8;
            const int othersWrite = 0x12;
            return Status(workingFolder, (byte*)name, doNotFollow, modeAndUid, status) == 0 && *(uint*)(status + 20) == EffectiveUser()
                && (*(ushort*)(status + 28) & othersWrite) == 0;
        }
        finally
        {
            Marshal.FreeCoTaskMem(name);
        }
    }

    [LibraryImport("libc", EntryPoint = "statx")]
    private static unsafe partial int Status(int folder, byte* path, int flags, uint mask, byte* status);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint EffectiveUser();
}
