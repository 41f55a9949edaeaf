namespace InferenceService.Server.Hub;

/// <summary>The disk below the cache, as far as it can run full or be shared. Tests put a smaller one in its place.</summary>
internal class HubDisk
{
    private const int NoSpace = 28, QuotaExceeded = 122; // ENOSPC and EDQUOT of Linux
    private const int WouldBlock = 11, MacWouldBlock = 35, WindowsSharingViolation = unchecked((int)0x80070020);
    private const int WindowsDiskFull = unchecked((int)0x80070070), WindowsHandleDiskFull = unchecked((int)0x80070027);

    /// <summary>Bytes that this process may still write below an existing folder.</summary>
    public virtual long FreeBytes(string folder) => new DriveInfo(folder).AvailableFreeSpace;

    /// <summary>Opens a partial file to be read from the beginning and continued at its end.</summary>
    public virtual Stream OpenPartial(string path) => new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0, FileOptions.Asynchronous);

    /// <summary>Everything that was written lies on the disk, whatever happens to the machine.</summary>
    public static void Settle(Stream stream)
    {
        if (stream is FileStream file)
            file.Flush(flushToDisk: true);
        else
            stream.Flush();
    }

    /// <summary>The error says that another process has the file open for itself: EWOULDBLOCK of the lock, or the sharing violation of Windows.</summary>
    public static bool IsHeld(IOException exception) =>
        exception.HResult == (OperatingSystem.IsWindows() ? WindowsSharingViolation : OperatingSystem.IsMacOS() ? MacWouldBlock : WouldBlock);

    /// <summary>The error says that the disk, or this user's share of it, is full.</summary>
    public static bool IsFull(IOException exception) => exception.HResult is NoSpace or QuotaExceeded or WindowsDiskFull or WindowsHandleDiskFull;
}
