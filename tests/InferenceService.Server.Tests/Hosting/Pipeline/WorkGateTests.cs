using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Telemetry;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Hosting.Pipeline;

public sealed class WorkGateTests : IDisposable
{
    private readonly ServerLifecycle _lifecycle = new(new ManualTime());
    private readonly InferenceMetrics _metrics = new(new ManualTime());
    private int _seen;

    [Fact]
    public async Task Work_is_counted_while_it_runs()
    {
        _lifecycle.MarkReady();
        Assert.Equal(200, (await RunAsync(inference: true)).Response.StatusCode);
        Assert.Equal(1, _seen);
        Assert.Equal(0, _lifecycle.InFlight);
    }

    [Fact]
    public async Task Other_routes_are_neither_counted_nor_refused()
    {
        Assert.Equal(200, (await RunAsync(inference: false)).Response.StatusCode);
        Assert.Equal(0, _seen);
    }

    [Fact]
    public async Task Work_is_refused_while_models_load()
    {
        HttpContext context = await RunAsync(inference: true);
        Assert.Equal(503, context.Response.StatusCode);
        Assert.Equal("close", context.Response.Headers.Connection);
        Assert.Equal("5", context.Response.Headers.RetryAfter);
        Assert.Equal("true", context.Response.Headers["x-should-retry"]);
        Assert.Equal(1, _metrics.Count(RejectionReason.ModelLoading));
        Assert.Equal(0, _lifecycle.InFlight);
    }

    [Fact]
    public async Task Work_is_refused_while_the_server_ends()
    {
        await _lifecycle.DrainAsync(TimeSpan.Zero, TimeSpan.Zero, CancellationToken.None);
        Assert.Equal(503, (await RunAsync(inference: true)).Response.StatusCode);
        Assert.Equal(1, _metrics.Count(RejectionReason.ShuttingDown));
    }

    public void Dispose() => _lifecycle.Dispose();

    private async Task<HttpContext> RunAsync(bool inference)
    {
        var context = new DefaultHttpContext();
        context.SetEndpoint(new Endpoint(null, new EndpointMetadataCollection(inference ? [InferenceRoute.Instance] : []), null));
        var gate = new WorkGate(
            _ =>
            {
                _seen = _lifecycle.InFlight;
                return Task.CompletedTask;
            },
            _lifecycle,
            _metrics);
        await gate.InvokeAsync(context);
        return context;
    }
}
