using System.Text.Json;
using InferenceService.Models;

namespace InferenceService.Server.Hub;

/// <summary>Reads what a hub says about a model, trusting none of it: names, hashes and sizes are checked before they become paths.</summary>
internal static class HubListingJson
{
    private const int MaxFiles = 100_000;

    /// <summary>The answer of <c>/api/models/ID/revision/REVISION?blobs=true</c>.</summary>
    /// <param name="complete">Size and hash of every file are there; hubs that know no <c>blobs</c> leave them out.</param>
    /// <exception cref="CheckpointException">It is not such an answer, or names a file outside of the model folder.</exception>
    public static HubListing ReadRevision(ReadOnlyMemory<byte> json, out bool complete)
    {
        bool all = true;
        HubListing listing = Read(json, root =>
        {
            string commit = root.GetProperty("sha").GetString() ?? "";
            if (!HubModelId.IsHex(commit, 40))
                throw new CheckpointException("The hub's answer names no commit.");
            var files = new List<HubFile>();
            foreach (JsonElement sibling in root.GetProperty("siblings").EnumerateArray())
            {
                string name = NameIn(sibling, "rfilename", files.Count);
                HubFile? file = FileOf(sibling, name, "blobId", "sha256");
                all &= file is not null;
                files.Add(file ?? new HubFile(name, 0, ""));
            }

            return new HubListing(commit, files);
        });
        complete = all;
        return listing;
    }

    /// <summary>One page of <c>/api/models/ID/tree/COMMIT?recursive=true</c>.</summary>
    /// <exception cref="CheckpointException">It is not such an answer, or names a file outside of the model folder.</exception>
    public static List<HubFile> ReadTree(ReadOnlyMemory<byte> json) => Read(json, root =>
    {
        var files = new List<HubFile>();
        foreach (JsonElement entry in root.EnumerateArray())
        {
            string name = NameIn(entry, "path", files.Count);
            if (entry.GetProperty("type").GetString() != "file")
                continue;
            files.Add(FileOf(entry, name, "oid", "oid") ?? throw new CheckpointException($"The hub states no size or checksum of {name}."));
        }

        return files;
    });

    private static T Read<T>(ReadOnlyMemory<byte> json, Func<JsonElement, T> read)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return read(document.RootElement);
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            // The exception's own words quote the answer.
            string why = exception is JsonException at ? $"no valid JSON at line {at.LineNumber + 1}, byte {at.BytePositionInLine + 1}" : "a field is missing, or of another kind than expected";
            throw new CheckpointException($"The hub's answer cannot be read: {why}.");
        }
    }

    // The whole listing is refused: who names such a file means no good with the others.
    private static string NameIn(JsonElement entry, string property, int count)
    {
        if (count >= MaxFiles)
            throw new CheckpointException($"The hub names more than {MaxFiles} files.");
        string name = entry.GetProperty(property).GetString() ?? "";
        bool leaves = name.Length is 0 or > 1024 || name.Contains('\\', StringComparison.Ordinal) || name.Any(char.IsControl)
            || name.Split('/').Any(segment => segment is "" or "." or "..");
        return leaves ? throw new CheckpointException("The hub names a file that lies outside of the model folder; nothing of it is taken.") : name;
    }

    // A file in large-file storage has two hashes: of its contents, and of the pointer that git keeps.
    private static HubFile? FileOf(JsonElement entry, string name, string gitHash, string largeHash)
    {
        bool large = entry.TryGetProperty("lfs", out JsonElement lfs) && lfs.ValueKind == JsonValueKind.Object;
        JsonElement from = large ? lfs : entry;
        if (!from.TryGetProperty("size", out JsonElement size) || !from.TryGetProperty(large ? largeHash : gitHash, out JsonElement hash))
            return null;
        string text = hash.GetString() ?? "";
        if (!HubModelId.IsHex(text, large ? 64 : 40) || size.GetInt64() < 0)
            throw new CheckpointException($"The hub states no usable size or checksum of {name}.");
        return new HubFile(name, size.GetInt64(), text);
    }
}
