using System.Diagnostics;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>Measurements of a loaded engine with made-up prompts, never ending early.</summary>
/// <param name="loaded">The engine.</param>
/// <param name="sampling">Greedy unless told.</param>
internal sealed class EngineRun(LoadedEngine loaded, SamplingParams? sampling = null)
{
    private readonly SamplingParams _sampling = sampling ?? new SamplingParams { Temperature = 0 };
    private int _seed;

    /// <summary>Prompt tokens a second of one request alone, up to its first token.</summary>
    public async Task<double> PrefillAsync(int promptTokens, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        List<long> alone = await ReadAsync(Submit(promptTokens, maxTokens: 1), cancellation);
        return promptTokens / Stopwatch.GetElapsedTime(began, alone[0]).TotalSeconds;
    }

    /// <summary>So many requests together, counted from the moment the last one produced its first token to the moment the first one ended.</summary>
    /// <returns>
    /// Tokens a second of all together, every counted step with all of them in its batch; and the time outside kernels (scheduling,
    /// sampling, publishing, the host's part of a forward pass) as a share of a step, of medians; NaN when no two steps followed one another.
    /// </returns>
    public async Task<(double Rate, double Outside)> DecodeAsync(int sequences, int promptTokens, int generatedTokens, CancellationToken cancellation)
    {
        TimedBackend timer = loaded.Timer;
        timer.Reset();
        timer.WatchedRows = sequences;
        Task<List<long>>[] readers = [.. Enumerable.Range(0, sequences).Select(_ => ReadAsync(Submit(promptTokens, generatedTokens), cancellation))];
        List<long>[] arrivals = await Task.WhenAll(readers);
        long from = arrivals.Max(times => times[0]), to = arrivals.Min(times => times[^1]);
        int counted = arrivals.Sum(times => times.Count(time => time > from && time <= to));
        return (counted / Stopwatch.GetElapsedTime(from, to).TotalSeconds, timer.Outside.Median / timer.Steps.Median);
    }

    private GenerationStream Submit(int promptTokens, int maxTokens)
    {
        var random = new Random(++_seed);
        int[] prompt = new int[promptTokens];
        for (int i = 0; i < prompt.Length; i++)
            prompt[i] = random.Next(loaded.Engine.Model.Config.VocabularySize);
        SubmitResult result = loaded.Engine.Submit(new GenerationRequest
        {
            PromptTokens = prompt,
            Sampling = _sampling,
            MaxTokens = maxTokens,
            IgnoreEos = true,
        });
        return result.Stream ?? throw new InvalidOperationException($"{result.Refusal}: {result.Reason}");
    }

    private static async Task<List<long>> ReadAsync(GenerationStream stream, CancellationToken cancellation)
    {
        var times = new List<long>(256);
        while (await stream.WaitToReadAsync(cancellation))
        {
            while (stream.TryRead(out GeneratedToken token))
            {
                if (token.Finish == FinishReason.Error)
                    throw new InvalidOperationException(stream.Error);
                if (token.TokenId >= 0)
                    times.Add(Stopwatch.GetTimestamp());
            }
        }

        return times;
    }
}
