using System.Runtime.InteropServices;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting;

/// <summary>Turns SIGTERM and Ctrl+C into an ordered end. The framework's own lifetime would stop listening at once.</summary>
/// <remarks>
/// SIGTERM waits <see cref="HttpOptions.DrainDelay"/> for load balancers to notice; Ctrl+C does not. A second signal ends all waiting.
/// </remarks>
internal sealed partial class DrainingLifetime(
    ServerLifecycle lifecycle, HttpOptions options, IHostApplicationLifetime application, ILogger<DrainingLifetime> logger) : IHostLifetime, IDisposable
{
    private readonly CancellationTokenSource _hurry = new();
    private readonly List<PosixSignalRegistration> _signals = [];
    private int _begun;

    /// <inheritdoc/>
    public Task WaitForStartAsync(CancellationToken cancellationToken)
    {
        _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => OnSignal(context, options.DrainDelay)));
        _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, context => OnSignal(context, TimeSpan.Zero)));
        _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGQUIT, context => OnSignal(context, TimeSpan.Zero)));
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public void Dispose()
    {
        _signals.ForEach(signal => signal.Dispose());
        _hurry.Dispose();
    }

    /// <summary>Drains, then tells the host to stop. Later calls only end the waiting of the first.</summary>
    public async Task EndAsync(TimeSpan delay)
    {
        if (Interlocked.Exchange(ref _begun, 1) != 0)
        {
            await _hurry.CancelAsync();
            return;
        }

        LogDraining(logger, lifecycle.InFlight, options.ShutdownTimeout.TotalSeconds);
        await lifecycle.DrainAsync(delay, options.ShutdownTimeout, _hurry.Token);
        if (lifecycle.InFlight > 0)
            LogCut(logger, lifecycle.InFlight);
        await lifecycle.WaitIdleAsync(ServerLifecycle.LastWords, _hurry.Token);
        application.StopApplication();
    }

    private void OnSignal(PosixSignalContext context, TimeSpan delay)
    {
        context.Cancel = true;
        _ = EndAndReportAsync(delay);
    }

    private async Task EndAndReportAsync(TimeSpan delay)
    {
        try
        {
            await EndAsync(delay);
        }
        catch (Exception exception)
        {
            // A drain that fails must still end the process.
            LogFailed(logger, exception);
            application.StopApplication();
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Told to end: {InFlight} requests are under way and may take up to {Seconds} s")]
    private static partial void LogDraining(ILogger logger, int inFlight, double seconds);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{InFlight} requests are ended before they are complete")]
    private static partial void LogCut(ILogger logger, int inFlight);

    [LoggerMessage(Level = LogLevel.Error, Message = "Draining failed")]
    private static partial void LogFailed(ILogger logger, Exception exception);
}
