using InferenceService.Cuda;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Security;
using InferenceService.Text.Templates;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Hosting;

/// <summary>One life of the server: listen, load, serve, drain. Failures become one line and an exit code.</summary>
/// <param name="catalog">Models to load once the server listens.</param>
/// <param name="options">What it was told.</param>
/// <param name="addresses">Where it listens.</param>
/// <param name="keys">Who may call.</param>
/// <param name="lifecycle">Whether it takes work.</param>
/// <param name="console">Where to say so.</param>
internal sealed class ServerRun(
    ModelCatalog catalog, ServerConfiguration options, ListenAddresses addresses, ApiKeys keys, ServerLifecycle lifecycle, StartupConsole console)
{
    /// <summary>Ended in order.</summary>
    public const int Success = 0;

    /// <summary>A model could not be loaded, or an address not be bound.</summary>
    public const int Failed = 1;

    /// <summary>Configuration is wrong.</summary>
    public const int Misconfigured = 2;

    /// <summary>The GPU has had a fault after which nothing can be done on it in this process: start another. As EX_SOFTWARE of sysexits.h.</summary>
    public const int DeviceLost = 70;

    /// <summary>A step of an engine does not end, and the process has ended without it; as little can be done about that in this process.</summary>
    public const int EngineStuck = DeviceLost;

    /// <summary>Runs until the process is told to end.</summary>
    /// <returns>Exit code.</returns>
    public async Task<int> ServeAsync(WebApplication app)
    {
        int code = await LiveAsync(app);
        if (await catalog.EndAsync() is not { } stuck)
            return code;
        console.Problem($"the engine of {stuck} is in a step that does not end; the process ends without it");
        return code == Success ? EngineStuck : code;
    }

    private async Task<int> LiveAsync(WebApplication app)
    {
        if (!keys.Required && addresses.ReachableFromOutside)
            console.Warning("no API key is set and other machines can reach this server: everybody may use it; see --api-key-file.");
        CancellationToken stopping = app.Lifetime.ApplicationStopping;
        try
        {
            await app.StartAsync();
        }
        catch (Exception exception) when (BindFailure.Of(exception, addresses) is { } problem)
        {
            console.Problem(problem);
            return Failed;
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            await app.StopAsync(CancellationToken.None);
            return Success;
        }

        // Health answers "model_loading" from here on.
        try
        {
            await catalog.LoadAsync(stopping);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            await app.WaitForShutdownAsync(CancellationToken.None);
            return Success;
        }
        catch (Exception exception) when (IsLoadFailure(exception))
        {
            console.Problem(exception.Message.ReplaceLineEndings(" "));
            await app.StopAsync(CancellationToken.None);
            return catalog.IsDeviceLost ? DeviceLost : Failed;
        }

        new WelcomeLine(options.Server.PathBase, keys.Required).Print(console, app.Urls, catalog.Models);
        Task ended = app.WaitForShutdownAsync(CancellationToken.None);
        return await Task.WhenAny(ended, catalog.DeviceLost) == ended ? Success : await EndLostAsync(app);
    }

    // Readiness and liveness are off since the engine ended, and its requests have failed; connections get time to carry their errors out.
    private async Task<int> EndLostAsync(WebApplication app)
    {
        console.Problem($"the device is lost and the process ends: {(await catalog.DeviceLost).ReplaceLineEndings(" ")}");
        await lifecycle.DrainAsync(TimeSpan.Zero, ServerLifecycle.LastWords, CancellationToken.None);
        await app.StopAsync(CancellationToken.None);
        return DeviceLost;
    }

    /// <summary>What went wrong with files or sizes, to be said in one line; everything else is a bug and keeps its stack.</summary>
    public static bool IsLoadFailure(Exception exception) =>
        exception is CheckpointException or CudaException or TokenizerException or TemplateException or InvalidDataException or ArgumentException
            or IOException or UnauthorizedAccessException or OutOfMemoryException;
}
