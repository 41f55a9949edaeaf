using InferenceService.Models;

namespace InferenceService.Server.Hub;

/// <summary>
/// The folder that all clients of the hub share: <c>models--org--name</c> with <c>blobs</c> (files under their hash), <c>snapshots</c> (a
/// folder a commit, links to blobs) and <c>refs</c> (the commit of a branch or tag). https://huggingface.co/docs/hub/local-cache
/// </summary>
/// <param name="root">The folder.</param>
internal sealed class HubCache(string root)
{
    /// <summary>Ending of a blob that is not complete.</summary>
    public const string PartialEnding = ".incomplete";

    private static readonly TimeSpan LockPoll = TimeSpan.FromSeconds(1);

    /// <summary>The folder.</summary>
    public string Root { get; } = root;

    /// <summary>The snapshot of a revision; null = there is none. It may lack files.</summary>
    public string? FindSnapshot(HubModelId id)
    {
        string reference = ReferencePath(id);
        string commit = File.Exists(reference) ? File.ReadAllText(reference).Trim() : id.Revision;
        string folder = SnapshotFolder(id, commit);
        return commit.Length > 0 && commit.All(char.IsAsciiLetterOrDigit) && Directory.Exists(folder) ? folder : null;
    }

    /// <summary>Folder of a commit.</summary>
    public string SnapshotFolder(HubModelId id, string commit) => Path.Combine(Folder(id), "snapshots", commit);

    /// <summary>Where the contents with this hash lie, once complete.</summary>
    public string BlobPath(HubModelId id, string hash) => Path.Combine(Folder(id), "blobs", hash);

    /// <summary>
    /// Keeps other processes, of this program and of the hub's own clients, from the same blob: an exclusive lock on a file of its own, which
    /// ends with the process.
    /// </summary>
    /// <param name="waiting">Called once when another process has it.</param>
    public async Task<FileStream> LockAsync(HubModelId id, string hash, TimeProvider time, Action waiting, CancellationToken cancellationToken)
    {
        for (bool told = false; ; told = true)
        {
            if (TryLock(id, hash) is { } held)
                return held;
            if (!told)
                waiting();
            await Task.Delay(LockPoll, time, cancellationToken); // a file lock of another process wakes nobody
        }
    }

    /// <summary>Puts a file into a snapshot: a relative link to its blob, or the blob itself where links cannot be made.</summary>
    public void Link(HubModelId id, string commit, HubFile file)
    {
        string path = Path.Combine(SnapshotFolder(id, commit), file.Name), blob = BlobPath(id, file.Hash);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        string target = Path.GetRelativePath(Path.GetDirectoryName(path)!, blob);
        if (new FileInfo(path).LinkTarget == target)
            return;
        string fresh = path + PartialEnding;
        File.Delete(fresh);
        try
        {
            File.CreateSymbolicLink(fresh, target);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or PlatformNotSupportedException)
        {
            fresh = blob;
        }

        File.Move(fresh, path, overwrite: true);
    }

    /// <summary>Notes which commit a branch or tag is; the last step of a download, so that what is noted is complete.</summary>
    public void Note(HubModelId id, string commit)
    {
        if (id.Revision == commit)
            return;
        string path = ReferencePath(id);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        string fresh = path + PartialEnding;
        File.WriteAllText(fresh, commit);
        File.Move(fresh, path, overwrite: true);
    }

    /// <summary>The snapshot that can be served; null = it lies not here, or not all of it.</summary>
    /// <param name="missing">What is not here, in words.</param>
    public string? FindComplete(HubModelId id, out string missing)
    {
        missing = $"nothing of it is in {Root}";
        if (FindSnapshot(id) is not { } folder)
            return null;
        try
        {
            if (ModelFiles.FirstMissing(folder) is not { } name)
                return folder;
            missing = $"{name} is missing from {folder}";
        }
        catch (CheckpointException exception)
        {
            missing = exception.Message;
        }

        return null;
    }

    private FileStream? TryLock(HubModelId id, string hash)
    {
        string path = Path.Combine(Root, ".locks", FolderName(id), hash + ".lock");
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException exception) when (HubDisk.IsHeld(exception))
        {
            return null;
        }
    }

    private string ReferencePath(HubModelId id) => Path.Combine(Folder(id), "refs", id.Revision);

    private string Folder(HubModelId id) => Path.Combine(Root, FolderName(id));

    private static string FolderName(HubModelId id) => $"models--{id.Organization}--{id.Name}";
}
