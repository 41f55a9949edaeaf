using System.Globalization;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Hub;

/// <summary>Brings models that configuration names by id into the local cache before they are opened. Requests never get here.</summary>
/// <param name="settings">Where from, where to and how much.</param>
/// <param name="disk">The disk below the cache.</param>
/// <param name="console">Where progress and retries are told.</param>
/// <param name="time">Clock of all delays.</param>
internal sealed class ModelDownload(HubSettings settings, HubDisk disk, StartupConsole console, TimeProvider time)
{
    private const long SpareBytes = 16 << 20;

    /// <summary>Downloads what is missing of the models that are named by id; nothing for all others and for those that are complete.</summary>
    /// <exception cref="CheckpointException">A model cannot be had; one line that says why.</exception>
    public async Task EnsureAsync(IEnumerable<ModelOptions> models, CancellationToken cancellationToken)
    {
        foreach (ModelOptions model in models)
        {
            if (ModelFolder.IdOf(model.Source) is { } id)
                await EnsureAsync(id, cancellationToken);
        }
    }

    /// <summary>The folder of a complete snapshot, downloaded where it was not.</summary>
    /// <exception cref="CheckpointException">The model cannot be had; one line that says why.</exception>
    public async Task<string> EnsureAsync(HubModelId id, CancellationToken cancellationToken)
    {
        if (settings.CacheFolder is not { } root)
            throw new CheckpointException($"--model: \"{id}\" has no place to go: set HF_HUB_CACHE or HF_HOME.");
        var cache = new HubCache(Path.GetFullPath(root));
        if (cache.FindComplete(id, out string missing) is { } complete)
            return complete;
        if (settings.Offline)
            throw new CheckpointException($"--model: \"{id}\" is not complete in the local cache ({missing}), and --offline (Hub:Offline, HF_HUB_OFFLINE) forbids downloading.");
        try
        {
            return await DownloadAsync(cache, id, cancellationToken);
        }
        catch (Exception exception) when (exception is UnauthorizedAccessException || (exception is IOException io && !HubDisk.IsFull(io)))
        {
            throw new CheckpointException($"--model: \"{id}\" cannot be written to {cache.Root}: {exception.Message.ReplaceLineEndings(" ")}", exception);
        }
    }

    private async Task<string> DownloadAsync(HubCache cache, HubModelId id, CancellationToken cancellationToken)
    {
        using var client = new HubClient(settings, time);
        var retry = new HubRetry(settings.Retries, time, console);
        HubListing listing = await retry.RunAsync($"The list of files of \"{id}\"", token => client.ListAsync(id, token), cancellationToken);
        Directory.CreateDirectory(cache.Root);
        List<HubFile> small = ModelFiles.SmallOf(id, listing);
        await FetchAsync(small, null);
        HubFile? index = small.Find(file => file.Name == ModelFiles.Index);
        List<HubFile> weights = ModelFiles.WeightsOf(id, listing, index is null ? null : cache.BlobPath(id, index.Hash));
        List<HubFile> all = [.. small, .. weights];
        console.Fact("download", string.Create(CultureInfo.InvariantCulture,
            $"{id}, commit {listing.Commit[..12]}: {all.Count} files, {HumanValues.Bytes(all.Sum(file => file.Size))}, from {settings.Endpoint.Host} to {cache.Root}"));
        console.BeginProgress("downloading");
        await FetchAsync(weights, console);
        using FileStream linking = await cache.LockAsync(id, listing.Commit, time, () => { }, cancellationToken);
        foreach (HubFile file in all)
            cache.Link(id, listing.Commit, file);
        cache.Note(id, listing.Commit);
        return cache.SnapshotFolder(id, listing.Commit);

        async Task FetchAsync(List<HubFile> files, IProgress<LoadProgress>? progress)
        {
            CheckRoom(cache, id, files);
            long total = files.Sum(file => file.Size), before = 0;
            foreach (HubFile file in files)
            {
                using var blob = new BlobDownload(
                    client, retry, cache, disk, time, id, listing.Commit, file, bytes => progress?.Report(new LoadProgress(before + bytes, total)));
                await blob.RunAsync(() => console.Line($"  another process downloads {file.Name}; waiting for it"), cancellationToken);
                before += file.Size;
            }
        }
    }

    private void CheckRoom(HubCache cache, HubModelId id, List<HubFile> files)
    {
        decimal total = files.Sum(file => (decimal)file.Size);
        if (total > settings.MaxBytes)
            throw new CheckpointException(string.Create(CultureInfo.InvariantCulture, $"--model: \"{id}\" has {total} bytes; Hub:MaxBytes allows {settings.MaxBytes}."));
        long needed = files.DistinctBy(file => file.Hash).Sum(file => file.Size - LengthOf(cache.BlobPath(id, file.Hash)) - LengthOf(cache.BlobPath(id, file.Hash) + HubCache.PartialEnding));
        long free = disk.FreeBytes(cache.Root);
        if (needed > 0 && needed + SpareBytes > free)
            throw new CheckpointException($"--model: \"{id}\" needs {HumanValues.Bytes(needed)} more on the disk of {cache.Root}, and {HumanValues.Bytes(SpareBytes)} must stay free; it has {HumanValues.Bytes(free)}.");
    }

    private static long LengthOf(string path) => new FileInfo(path) is { Exists: true } file ? file.Length : 0;
}
