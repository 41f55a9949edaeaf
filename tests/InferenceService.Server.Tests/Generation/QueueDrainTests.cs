using InferenceService.Server.Api;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Tests.Generation;

public sealed class QueueDrainTests
{
    private readonly ManualTime _time = new();
    private (long Waiting, long Admitted) _tokens;

    [Fact]
    public void The_wait_is_what_is_queued_over_what_was_admitted_of_late()
    {
        var drain = new QueueDrain(() => _tokens, _time);
        _tokens = (4000, 100);
        drain.Look();
        Assert.Null(drain.TimeToEmpty());
        Assert.Equal(7, drain.Advise(Overloaded(7)).RetryAfterSeconds);
        _time.Advance(TimeSpan.FromSeconds(5));
        _tokens = (4000, 1100);
        // 200 tokens a second.
        Assert.Equal(TimeSpan.FromSeconds(20), drain.TimeToEmpty());
        ApiError advised = drain.Advise(Overloaded(2));
        Assert.Equal((20, 20_000, true), (advised.RetryAfterSeconds, advised.RetryAfterMilliseconds, advised.ShouldRetry));
        Assert.Equal(30, drain.Advise(Overloaded(30)).RetryAfterSeconds);
    }

    [Fact]
    public void No_wait_is_longer_than_clients_believe()
    {
        var drain = new QueueDrain(() => _tokens, _time);
        _tokens = (1_000_000, 0);
        drain.Look();
        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(10, drain.Advise(Overloaded(2)).RetryAfterSeconds); // nothing began in ten seconds
        _tokens.Admitted = 10;
        ApiError advised = drain.Advise(Overloaded(2));
        Assert.Equal((60, 60_000), (advised.RetryAfterSeconds, advised.RetryAfterMilliseconds));
    }

    [Fact]
    public void An_empty_queue_forgets_and_a_long_one_looks_back_a_minute()
    {
        var drain = new QueueDrain(() => _tokens, _time);
        _tokens = (100, 0);
        for (int second = 0; second < 200; second++)
        {
            // 10 tokens a second at first, then 20.
            _tokens.Admitted += second < 100 ? 10 : 20;
            _tokens.Waiting = 100;
            drain.Look();
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.InRange(drain.TimeToEmpty()!.Value.TotalSeconds, 4.9, 5.1);
        _tokens.Waiting = 0;
        drain.Look();
        Assert.Null(drain.TimeToEmpty());
        _tokens.Waiting = 50;
        drain.Look();
        Assert.Null(drain.TimeToEmpty());
    }

    private static ApiError Overloaded(int seconds) => Admission.QueueTimeout(new AdmissionOptions { RetryAfterSeconds = seconds });
}
