using System.Globalization;
using System.Runtime.InteropServices;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Hub;

/// <summary>Downloads the configured models, checks every file of them against its checksum and ends: what an init container runs.</summary>
internal static class DownloadCommand
{
    /// <summary>Does it until a signal ends it; says in one line what went wrong.</summary>
    /// <returns>Exit code: 0 = every model is complete and as its hub stated.</returns>
    public static async Task<int> RunAsync(ServerConfiguration configuration, ProcessEnvironment environment, StartupConsole console)
    {
        using var ending = new CancellationTokenSource();
        void End(PosixSignalContext context)
        {
            context.Cancel = true;
            ending.Cancel();
        }

        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
        return await RunAsync(configuration.Models, HubSettings.From(configuration.Hub, environment), console, TimeProvider.System, ending.Token);
    }

    /// <summary>The same with a clock and an end of its own.</summary>
    internal static async Task<int> RunAsync(
        IReadOnlyList<ModelOptions> models, HubSettings settings, StartupConsole console, TimeProvider time, CancellationToken cancellationToken)
    {
        try
        {
            HubModelId[] ids = [.. models.Select(model => ModelFolder.IdOf(model.Source)).OfType<HubModelId>()];
            if (ids.Length == 0)
                throw new CheckpointException("--download-only: no model is named by its id (--model org/name), so there is nothing to download.");
            var download = new ModelDownload(settings, new HubDisk(), console, time);
            foreach (HubModelId id in ids)
                await CheckAsync(download, id, settings, console, cancellationToken);
            return ServerRun.Success;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            console.Problem("the download was interrupted; what is there is kept, and the next one continues it.");
            return ServerRun.Failed;
        }
        catch (Exception exception) when (ServerRun.IsLoadFailure(exception))
        {
            console.Problem(exception.Message.ReplaceLineEndings(" "));
            return ServerRun.Failed;
        }
    }

    // A volume that outlives its pods may have aged: damaged files are brought again.
    private static async Task CheckAsync(ModelDownload download, HubModelId id, HubSettings settings, StartupConsole console, CancellationToken cancellationToken)
    {
        string folder = await download.EnsureAsync(id, cancellationToken);
        List<Verified> files = await VerifyAsync(folder, cancellationToken);
        if (files.FindAll(file => !file.IsIntact) is { Count: > 0 } damaged)
        {
            if (settings.Offline)
                throw new CheckpointException($"--model: {damaged[0].Name} of \"{id}\" is damaged in the local cache, and --offline (Hub:Offline, HF_HUB_OFFLINE) forbids downloading it again.");
            foreach (Verified file in damaged)
            {
                console.Warning($"{file.Name} of \"{id}\" is damaged in the local cache ({file.Hash}) and is downloaded again.");
                File.Delete(file.Blob);
            }

            files = await VerifyAsync(folder = await download.EnsureAsync(id, cancellationToken), cancellationToken);
            if (files.Find(file => !file.IsIntact) is { } still)
                throw new CheckpointException($"--model: {still.Name} of \"{id}\" is still damaged; delete {still.Blob}.");
        }

        foreach (Verified file in files)
            console.Line(string.Create(CultureInfo.InvariantCulture, $"{file.Hash}  {file.Size,14}  {file.Name}"));
        console.Line($"{id} is complete in {folder}");
    }

    private static async Task<List<Verified>> VerifyAsync(string folder, CancellationToken cancellationToken)
    {
        var files = new List<Verified>();
        foreach (string path in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            string blob = File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path;
            string stated = Path.GetFileName(blob);
            await using FileStream contents = File.OpenRead(blob);
            string name = Path.GetRelativePath(folder, path);
            // Where links cannot be made, a file lies under its own name and states nothing; its checksum is shown.
            bool isNamed = HubModelId.IsHex(stated, 64) || HubModelId.IsHex(stated, 40);
            string hash = await BlobHash.OfAsync(new HubFile(name, contents.Length, isNamed ? stated : new string('0', 64)), contents, cancellationToken);
            files.Add(new Verified(name, contents.Length, hash, blob, !isNamed || hash == stated));
        }

        return files;
    }

    private sealed record Verified(string Name, long Size, string Hash, string Blob, bool IsIntact);
}
