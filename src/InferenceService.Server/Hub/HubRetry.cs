using System.Globalization;
using InferenceService.Models;
using InferenceService.Server.Hosting;
using Polly;
using Polly.Retry;

namespace InferenceService.Server.Hub;

/// <summary>Tries again what failed for a moment: after 1 to 30 s with jitter, or when the server says so, a bounded number of times.</summary>
internal sealed class HubRetry
{
    /// <summary>A server that asks for more is not waited for.</summary>
    public static readonly TimeSpan LongestAskedFor = TimeSpan.FromMinutes(10);

    /// <summary>The first delay.</summary>
    public static readonly TimeSpan FirstDelay = TimeSpan.FromSeconds(1);

    /// <summary>The longest delay of our own.</summary>
    public static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(30);

    private static readonly ResiliencePropertyKey<string> Subject = new("subject");
    private readonly ResiliencePipeline _pipeline;

    /// <summary>Builds the pipeline.</summary>
    public HubRetry(int retries, TimeProvider time, StartupConsole console)
    {
        var builder = new ResiliencePipelineBuilder { TimeProvider = time };
        if (retries > 0)
        {
            builder.AddRetry(new RetryStrategyOptions
            {
                ShouldHandle = new PredicateBuilder().Handle<HubTransientException>(exception => !(exception.RetryAfter > LongestAskedFor)),
                MaxRetryAttempts = retries,
                BackoffType = DelayBackoffType.Exponential,
                Delay = FirstDelay,
                MaxDelay = LongestDelay,
                UseJitter = true,
                DelayGenerator = arguments => ValueTask.FromResult((arguments.Outcome.Exception as HubTransientException)?.RetryAfter),
                OnRetry = arguments =>
                {
                    arguments.Context.Properties.TryGetValue(Subject, out string? subject);
                    console.Warning(string.Create(CultureInfo.InvariantCulture,
                        $"{subject}: {arguments.Outcome.Exception!.Message}; attempt {arguments.AttemptNumber + 2} in {arguments.RetryDelay.TotalSeconds:0.0} s"));
                    return ValueTask.CompletedTask;
                },
            });
        }

        _pipeline = builder.Build();
    }

    /// <summary>Runs it until it succeeds or there are no attempts left.</summary>
    /// <param name="subject">What it is about, for the lines that say so.</param>
    /// <exception cref="CheckpointException">The last attempt failed too.</exception>
    public async Task<T> RunAsync<T>(string subject, Func<CancellationToken, Task<T>> attempt, CancellationToken cancellationToken)
    {
        ResilienceContext context = ResilienceContextPool.Shared.Get(cancellationToken);
        context.Properties.Set(Subject, subject);
        try
        {
            return await _pipeline.ExecuteAsync(static async (c, run) => await run(c.CancellationToken), context, attempt);
        }
        catch (HubTransientException exception)
        {
            throw new CheckpointException($"{subject} cannot be downloaded: {exception.Message}.", exception);
        }
        finally
        {
            ResilienceContextPool.Shared.Return(context);
        }
    }
}
