using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

public sealed class ServerLifecycleTests : IDisposable
{
    private static readonly TimeSpan Delay = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private readonly ManualTime _time = new();
    private readonly ServerLifecycle _lifecycle;

    public ServerLifecycleTests() => _lifecycle = new ServerLifecycle(_time);

    [Fact]
    public void Work_is_refused_until_the_models_are_loaded()
    {
        Assert.Equal("model_loading", _lifecycle.Refusal?.Code);
        _lifecycle.MarkReady();
        Assert.Null(_lifecycle.Refusal);
    }

    [Fact]
    public async Task Draining_takes_work_for_the_delay_then_refuses_it_and_waits_for_what_runs()
    {
        _lifecycle.MarkReady();
        IDisposable request = _lifecycle.TrackRequest();
        Task drain = _lifecycle.DrainAsync(Delay, Limit, CancellationToken.None);
        await _time.WaitForTimerAsync(Delay);
        Assert.Equal(ServerPhase.Leaving, _lifecycle.Phase);
        Assert.Null(_lifecycle.Refusal);

        _time.Advance(Delay);
        await _time.WaitForTimerAsync(Limit);
        Assert.Equal(ServerPhase.Draining, _lifecycle.Phase);
        Assert.Equal("shutting_down", _lifecycle.Refusal?.Code);
        Assert.False(drain.IsCompleted);
        Assert.False(_lifecycle.HardStop.IsCancellationRequested);

        request.Dispose();
        await drain;
        Assert.Equal(ServerPhase.Stopping, _lifecycle.Phase);
    }

    [Fact]
    public async Task Work_that_outlives_the_timeout_is_told_to_stop()
    {
        _lifecycle.MarkReady();
        using IDisposable request = _lifecycle.TrackRequest();
        Task drain = _lifecycle.DrainAsync(TimeSpan.Zero, Limit, CancellationToken.None);
        await _time.WaitForTimerAsync(Limit);
        Assert.False(_lifecycle.HardStop.IsCancellationRequested);
        _time.Advance(Limit);
        await drain;
        Assert.True(_lifecycle.HardStop.IsCancellationRequested);
        Assert.Equal(1, _lifecycle.InFlight);
    }

    [Fact]
    public async Task A_second_signal_ends_all_waiting()
    {
        _lifecycle.MarkReady();
        using IDisposable request = _lifecycle.TrackRequest();
        using var hurry = new CancellationTokenSource();
        Task drain = _lifecycle.DrainAsync(Delay, Limit, hurry.Token);
        await _time.WaitForTimerAsync(Delay);
        await hurry.CancelAsync();
        await drain;
        Assert.True(_lifecycle.HardStop.IsCancellationRequested);
    }

    [Fact]
    public async Task A_server_that_never_became_ready_does_not_wait_for_load_balancers()
    {
        Task drain = _lifecycle.DrainAsync(Delay, Limit, CancellationToken.None);
        await drain;
        Assert.Equal(ServerPhase.Stopping, _lifecycle.Phase);
        _lifecycle.MarkReady();
        Assert.Equal("shutting_down", _lifecycle.Refusal?.Code);
    }

    [Fact]
    public void A_request_counts_until_it_is_disposed_and_only_once()
    {
        IDisposable one = _lifecycle.TrackRequest();
        IDisposable two = _lifecycle.TrackRequest();
        Assert.Equal(2, _lifecycle.InFlight);
        one.Dispose();
        one.Dispose();
        Assert.Equal(1, _lifecycle.InFlight);
        two.Dispose();
        Assert.Equal(0, _lifecycle.InFlight);
    }

    public void Dispose() => _lifecycle.Dispose();
}
