using System.Net.Sockets;
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
/// <param name="console">Where to say so.</param>
internal sealed class ServerRun(ModelCatalog catalog, ServerConfiguration options, ListenAddresses addresses, ApiKeys keys, StartupConsole console)
{
    /// <summary>Ended in order.</summary>
    public const int Success = 0;

    /// <summary>A model could not be loaded, or an address not be bound.</summary>
    public const int Failed = 1;

    /// <summary>Configuration is wrong.</summary>
    public const int Misconfigured = 2;

    /// <summary>Runs until the process is told to end.</summary>
    /// <returns>Exit code.</returns>
    public async Task<int> ServeAsync(WebApplication app)
    {
        if (!keys.Required && addresses.ReachableFromOutside)
            console.Warning("no API key is set and other machines can reach this server: everybody may use it; see --api-key-file.");
        try
        {
            await app.StartAsync();
        }
        catch (Exception exception) when (BindProblem(exception) is { } problem)
        {
            console.Problem(problem);
            return Failed;
        }

        // Health answers "model_loading" from here on.
        CancellationToken stopping = app.Lifetime.ApplicationStopping;
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
            return Failed;
        }

        new WelcomeLine(options.Server.PathBase, keys.Required).Print(console, app.Urls, catalog.Models);
        await app.WaitForShutdownAsync(CancellationToken.None);
        return Success;
    }

    /// <summary>What went wrong with files or sizes, to be said in one line; everything else is a bug and keeps its stack.</summary>
    public static bool IsLoadFailure(Exception exception) =>
        exception is CheckpointException or TokenizerException or TemplateException or InvalidDataException or ArgumentException
            or IOException or UnauthorizedAccessException or OutOfMemoryException;

    private string? BindProblem(Exception exception)
    {
        for (Exception? e = exception; e is not null; e = e.InnerException)
        {
            if (e is SocketException socket)
                return Describe(socket.SocketErrorCode);
            if (e is Microsoft.AspNetCore.Connections.AddressInUseException)
                return Describe(SocketError.AddressAlreadyInUse);
        }

        return exception is IOException or InvalidDataException ? exception.Message.ReplaceLineEndings(" ") : null;
    }

    private string Describe(SocketError error) => error switch
    {
        SocketError.AddressAlreadyInUse => $"{addresses.Text} is already in use; choose another port with --port",
        SocketError.AccessDenied => $"{addresses.Text} may not be bound by this user; choose a port of 1024 or above with --port",
        SocketError.AddressNotAvailable => $"{addresses.Text} does not belong to this machine; choose another address with --host",
        _ => $"{addresses.Text} cannot be bound ({error})",
    };
}
