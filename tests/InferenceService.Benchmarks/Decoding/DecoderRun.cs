using System.Diagnostics;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>One measurement: so many equal requests at once, greedy, never ending early.</summary>
internal sealed class DecoderRun(InferenceEngine engine, int promptTokens, int generatedTokens)
{
    private int _seed;

    /// <returns>
    /// Prefill: prompt tokens a second of one request alone. Decode: tokens a second of all requests together, from the moment the last
    /// one produced its first token to the moment the first one ended, so that every counted step has all of them in its batch.
    /// </returns>
    public async Task<(double Prefill, double Decode)> MeasureAsync(int sequences, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        List<long> alone = await ReadAsync(Submit(maxTokens: 1), cancellation);
        double prefill = promptTokens / Stopwatch.GetElapsedTime(began, alone[0]).TotalSeconds;

        Task<List<long>>[] readers = [.. Enumerable.Range(0, sequences).Select(_ => ReadAsync(Submit(generatedTokens), cancellation))];
        List<long>[] arrivals = await Task.WhenAll(readers);
        long from = arrivals.Max(times => times[0]), to = arrivals.Min(times => times[^1]);
        int counted = arrivals.Sum(times => times.Count(time => time > from && time <= to));
        return (prefill, counted / Stopwatch.GetElapsedTime(from, to).TotalSeconds);
    }

    private GenerationStream Submit(int maxTokens)
    {
        var random = new Random(++_seed);
        int[] prompt = new int[promptTokens];
        for (int i = 0; i < prompt.Length; i++)
            prompt[i] = random.Next(engine.Model.Config.VocabularySize);
        SubmitResult result = engine.Submit(new GenerationRequest
        {
            PromptTokens = prompt,
            Sampling = new SamplingParams { Temperature = 0 },
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
