using System.Diagnostics;

namespace InferenceService.Benchmarks.Load;

/// <summary>Two ways to send a workload: so many in flight at any time, or each at its own time whatever the server does. Prompts are seeded by first index + place.</summary>
internal static class LoadLoop
{
    public static async Task<RequestOutcome[]> ClosedAsync(
        CompletionClient client, Arrival[] arrivals, int concurrency, CancellationToken cancellation, int firstIndex = 0)
    {
        var outcomes = new RequestOutcome[arrivals.Length];
        int next = -1;
        async Task WorkAsync()
        {
            for (int i = Interlocked.Increment(ref next); i < arrivals.Length; i = Interlocked.Increment(ref next))
                outcomes[i] = await client.RunAsync(arrivals[i], firstIndex + i, cancellation);
        }

        await Task.WhenAll(Enumerable.Range(0, concurrency).Select(_ => WorkAsync()));
        return outcomes;
    }

    public static async Task<RequestOutcome[]> OpenAsync(CompletionClient client, Arrival[] arrivals, CancellationToken cancellation, int firstIndex = 0)
    {
        long began = Stopwatch.GetTimestamp();
        async Task<RequestOutcome> SendAsync(int index)
        {
            double wait = arrivals[index].At - Stopwatch.GetElapsedTime(began).TotalSeconds;
            if (wait > 0)
                await Task.Delay(TimeSpan.FromSeconds(wait), cancellation); // open loop: a request is sent at its arrival time, whatever the others do
            return await client.RunAsync(arrivals[index], firstIndex + index, cancellation);
        }

        return await Task.WhenAll(Enumerable.Range(0, arrivals.Length).Select(SendAsync));
    }
}
