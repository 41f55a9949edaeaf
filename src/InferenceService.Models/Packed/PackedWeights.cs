using InferenceService.Compute;

namespace InferenceService.Models.Packed;

/// <summary>The packed matrices of one load: read from a file as far as it has them, and written to it when it had not.</summary>
internal sealed class PackedWeights : IDisposable
{
    private const int ChunkBytes = 4 << 20;

    private readonly IBackend _backend;
    private readonly string _path;
    private readonly byte[] _key;
    private readonly Action<string> _warn;
    private readonly List<(string Name, Weight Weight, WeightError[] Errors)> _all = [];
    private PackedFile? _file;
    private bool _isStale;

    /// <summary>Opens the file if there is one.</summary>
    public PackedWeights(IBackend backend, string path, byte[] key, Action<string> warn)
    {
        (_backend, _path, _key, _warn) = (backend, path, key, warn);
        try
        {
            if (File.Exists(path))
                _file = PackedFile.Open(path, key);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            Leave(e.Message);
        }
    }

    /// <summary>Fills a weight from the file.</summary>
    /// <param name="name">Names of its parts.</param>
    /// <param name="weight">Fresh: all zero.</param>
    /// <param name="parts">How many there are.</param>
    /// <returns>What packing each part had lost; null when the weight must be packed, and is all zero still.</returns>
    public WeightError[]? TryRead(string name, in Weight weight, int parts)
    {
        if (_file is not { } file)
            return null;
        if (file.Find(name) is not { } entry)
            return Leave($"it lacks {Quote.Value(name)}");
        if (entry.Format != weight.Format || entry.Rows != weight.Rows || entry.Columns != weight.Columns || entry.Length != weight.ByteLength || entry.Errors.Length != parts)
            return Leave($"{Quote.Value(name)} has another shape there");
        file.Expect(entry);
        uint checksum = Crc32C.Start;
        foreach ((Tensor rows, long from, int count) in Chunks(weight))
        {
            ReadOnlySpan<byte> bytes = file.Bytes(entry, from, count);
            checksum = Crc32C.Append(checksum, bytes);
            _backend.Upload(bytes, rows);
        }

        file.Release(entry);
        if (~checksum == entry.Checksum)
            return Keep(name, weight, entry.Errors);
        foreach ((Tensor rows, _, int count) in Chunks(weight))
            _backend.Upload(new byte[count], rows);
        return Leave($"the checksum of {Quote.Value(name)} is wrong");
    }

    /// <summary>Remembers a weight that was packed.</summary>
    public void Add(string name, in Weight weight, WeightError[] errors)
    {
        _isStale = true;
        Keep(name, weight, errors);
    }

    /// <summary>Writes the file when the one that was there did not do. A failure is one warning.</summary>
    public void Save()
    {
        if (!_isStale)
            return;
        Dispose(); // some systems replace no file that is mapped
        string temporary = $"{_path}.{Guid.NewGuid():n}.tmp";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
            Write(temporary);
            File.Move(temporary, _path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            _warn($"The packed weights cannot be kept in {_path}: {e.Message.ReplaceLineEndings(" ")} They will be packed again at the next start.");
            Delete(temporary);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }

    private WeightError[] Keep(string name, in Weight weight, WeightError[] errors)
    {
        _all.Add((name, weight, errors));
        return errors;
    }

    private WeightError[]? Leave(string reason)
    {
        Dispose();
        _isStale = true;
        _warn($"The packed weights in {_path} cannot be used: {reason.ReplaceLineEndings(" ")}; they are packed again.");
        return null;
    }

    private void Write(string path)
    {
        using var stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        var entries = new List<PackedEntry>();
        long end = PackedFile.HeaderBytes;
        byte[] chunk = [];
        foreach ((string name, Weight weight, WeightError[] errors) in _all)
        {
            long offset = stream.Position = (end + PackedFile.Alignment - 1) / PackedFile.Alignment * PackedFile.Alignment;
            uint checksum = Crc32C.Start;
            foreach ((Tensor rows, _, int count) in Chunks(weight))
            {
                if (chunk.Length < count)
                    chunk = new byte[count];
                _backend.Download(rows, chunk.AsSpan(0, count));
                checksum = Crc32C.Append(checksum, chunk.AsSpan(0, count));
                stream.Write(chunk.AsSpan(0, count));
            }

            end = stream.Position;
            entries.Add(new PackedEntry(name, weight.Format, weight.Rows, weight.Columns, offset, weight.ByteLength, ~checksum, errors));
        }

        byte[] table = PackedFile.Table(entries);
        stream.Write(table);
        stream.Position = 0;
        stream.Write(PackedFile.Header(_key, end, table));
        stream.Flush(flushToDisk: true);
    }

    /// <summary>Rows of the packed memory, some megabytes at a time; a row has a multiple of eight bytes.</summary>
    private static IEnumerable<(Tensor Rows, long From, int Count)> Chunks(Weight weight)
    {
        Tensor memory = weight.Memory;
        int atOnce = Math.Max(1, ChunkBytes / Math.Max(1, memory.Columns));
        for (int row = 0; row < memory.Rows; row += atOnce)
        {
            int count = Math.Min(atOnce, memory.Rows - row);
            yield return (memory.RowRange(row, count), (long)row * memory.Columns, count * memory.Columns);
        }
    }

    private static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It could not be written either; the warning has been given.
        }
    }
}
