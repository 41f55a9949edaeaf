using System.Diagnostics;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>Measurements of a loaded engine with made-up prompts: greedy, never ending early.</summary>
internal sealed class EngineRun(LoadedEngine loaded)
{
    private int _seed;

    /// <summary>Prompt tokens a second of one request alone, up to its first token.</summary>
    public async Task<double> PrefillAsync(int promptTokens, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        List<long> alone = await ReadAsync(Submit(promptTokens, maxTokens: 1), cancellation);
        return promptTokens / Stopwatch.GetElapsedTime(began, alone[0]).TotalSeconds;
    }

    /// <summary>
    /// Tokens a second of so many requests together, from the moment the last one produced its first token to the moment the first one
    /// ended, so that every counted step has all of them in its batch.
    /// </summary>
    public async Task<double> DecodeAsync(int sequences, int promptTokens, int generatedTokens, CancellationToken cancellation)
    {
        Task<List<long>>[] readers = [.. Enumerable.Range(0, sequences).Select(_ => ReadAsync(Submit(promptTokens, generatedTokens), cancellation))];
        List<long>[] arrivals = await Task.WhenAll(readers);
        long from = arrivals.Max(times => times[0]), to = arrivals.Min(times => times[^1]);
        int counted = arrivals.Sum(times => times.Count(time => time > from && time <= to));
        return counted / Stopwatch.GetElapsedTime(from, to).TotalSeconds;
    }

    /// <summary>Share of the time of pure decode steps that no kernel ran in: scheduling, sampling, and the host's part of a forward pass.</summary>
    /// <returns>Seconds of a step, and of these outside kernels; means over all steps in which every sequence decodes.</returns>
    /// <exception cref="InvalidOperationException">The sequences never decoded together.</exception>
    public async Task<(double Step, double Outside)> OutsideKernelsAsync(int sequences, int promptTokens, int generatedTokens, CancellationToken cancellation)
    {
        InferenceEngine engine = loaded.Engine;
        long generatedBefore = engine.Statistics.GeneratedTokens;
        Task<List<long>>[] readers = [.. Enumerable.Range(0, sequences).Select(_ => ReadAsync(Submit(promptTokens, generatedTokens), cancellation))];
        (EngineStatistics Statistics, double Kernels) from = default, to = default;
        bool together = false;
        while (!readers.Any(reader => reader.IsCompleted))
        {
            (EngineStatistics Statistics, double Kernels) now = Sample();
            bool all = now.Statistics.Running == sequences && now.Statistics.Waiting == 0;
            // Two tokens each: all prompts are read, because a sequence does not wait for others once it decodes.
            if (!together && all && now.Statistics.GeneratedTokens - generatedBefore >= 2L * sequences + sequences * (long)sequences)
                (from, together) = (now, true);
            if (together && all)
                to = now;
            await Task.Delay(1, cancellation); // samples counters that the engine keeps exactly; a later sample only moves the ends of the interval
        }

        await Task.WhenAll(readers);
        long steps = to.Statistics.Steps - from.Statistics.Steps;
        if (steps <= 0)
            throw new InvalidOperationException($"The {sequences} sequences never decoded together; --generate must be larger.");
        double step = (to.Statistics.StepSeconds - from.Statistics.StepSeconds) / steps;
        return (step, step - (to.Kernels - from.Kernels) / steps);
    }

    // The engine publishes its counters once a step, kernels theirs at any time: both must be of the same step.
    private (EngineStatistics Statistics, double Kernels) Sample()
    {
        while (true)
        {
            EngineStatistics before = loaded.Engine.Statistics;
            double kernels = loaded.Timer.Seconds;
            if (loaded.Engine.Statistics.Steps == before.Steps && loaded.Timer.StepsSeen == before.Steps)
                return (before, kernels);
        }
    }
}
