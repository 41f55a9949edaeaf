namespace InferenceService.Fuzz.Targets;

/// <summary>A folder in memory where there is one, for readers that take a path.</summary>
internal sealed class ScratchFolder : IDisposable
{
    private const string SharedMemory = "/dev/shm";

    /// <summary>The folder.</summary>
    public string Path { get; } = Directory.Exists(SharedMemory)
        ? Directory.CreateDirectory(System.IO.Path.Combine(SharedMemory, $"inference-fuzz-{Guid.NewGuid():n}")).FullName
        : Directory.CreateTempSubdirectory("inference-fuzz-").FullName;

    /// <summary>A file in it with this content.</summary>
    public string Write(string name, ReadOnlySpan<byte> content)
    {
        string path = System.IO.Path.Combine(Path, name);
        using var stream = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        stream.Write(content);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
