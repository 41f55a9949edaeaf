using System.Collections.Immutable;
using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests;

/// <summary>Whatever else is in the batch, whatever happens on the way: a request says what it says alone.</summary>
public sealed class BatchInvarianceTests
{
    private const int Requests = 64;

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(null)]
    public void A_storm_changes_no_token_and_leaves_no_block_owned(int? chunk) => Property.Check(2, seed =>
    {
        using var model = new TinyModel(eos: 7);
        GenerationRequest[] requests = NewRequests(new Random(seed));
        EngineRun.Output[][] alone = RunAlone(model, requests);
        Storm(model, requests, alone, chunk, new Random(seed + 1));
    });

    private static EngineRun.Output[][] RunAlone(TinyModel model, GenerationRequest[] requests)
    {
        EngineOptions options = EngineRun.Options(model) with { PrefixCaching = false };
        using var run = new EngineRun(model, options);
        return [.. requests.Select(request => Enumerable.Range(0, request.Choices)
            .Select(choice => run.Run(request with { Choices = 1, Sampling = SeedOf(request.Sampling, choice) })[0]).ToArray())];
    }

    private static SamplingParams SeedOf(SamplingParams sampling, int choice) => sampling with { Seed = sampling.Seed + choice };

    private static void Storm(TinyModel model, GenerationRequest[] requests, EngineRun.Output[][] alone, int? chunk, Random random)
    {
        // The pool holds about two of the longest sequences, so that five in flight must preempt each other.
        EngineOptions options = EngineRun.Options(model, poolTokens: 140) with { MaxChunkTokens = chunk, MaxBatchTokens = 48, MaxNumSeqs = 6 };
        using var run = new EngineRun(model, options);
        var streams = new GenerationStream?[requests.Length];
        var outputs = requests.Select(request => Enumerable.Range(0, request.Choices).Select(_ => new EngineRun.Output()).ToArray()).ToArray();
        int next = 0, steps = 0;
        while (next < requests.Length || run.Engine.Loop.Step())
        {
            Assert.True(++steps < 100_000, "The storm does not end.");
            for (int burst = random.Next(3); burst > 0 && next < requests.Length; burst--, next++)
                streams[next] = run.Submit(requests[next]);
            if (random.Next(20) == 0 && next > 0)
                streams[random.Next(next)]!.Cancel();
            if (random.Next(20) == 0 && next > 0)
                streams[next - 1]!.CancelChoice(requests[next - 1].Choices - 1);
            run.Engine.Loop.Step();
            for (int i = 0; i < next; i++)
                while (streams[i]!.TryRead(out GeneratedToken token))
                    outputs[i][token.Choice].Add(token);
        }

        run.AssertNothingOwned();
        Assert.True(run.Engine.Statistics.Preemptions > 0, "Nothing was preempted.");
        Assert.True(run.Engine.Statistics.PrefixHitTokens > 0, "No prefix was hit.");
        int cancelled = 0;
        for (int i = 0; i < requests.Length; i++)
        {
            for (int choice = 0; choice < requests[i].Choices; choice++)
            {
                EngineRun.Output said = outputs[i][choice], expected = alone[i][choice];
                Assert.NotEqual(FinishReason.None, said.Finish);
                cancelled += said.Finish == FinishReason.Cancelled ? 1 : 0;
                bool whole = said.Finish != FinishReason.Cancelled;
                Assert.Equal(whole ? expected.Finish : FinishReason.Cancelled, said.Finish);
                Assert.Equal(whole ? expected.Tokens : expected.Tokens.Take(said.Tokens.Count), said.Tokens);
            }
        }

        Assert.InRange(cancelled, 1, Requests);
    }

    private static GenerationRequest[] NewRequests(Random random)
    {
        int[][] stems = [EngineRun.Prompt(24, 1), EngineRun.Prompt(37, 2), EngineRun.Prompt(9, 3)];
        return [.. Enumerable.Range(0, Requests).Select(i =>
        {
            bool greedy = random.Next(2) == 0;
            int[] prompt = [.. stems[random.Next(3)], .. EngineRun.Prompt(random.Next(12), i)];
            return new GenerationRequest
            {
                PromptTokens = prompt,
                MaxTokens = 1 + random.Next(24),
                Choices = greedy ? 1 : 1 + random.Next(4),
                StopTokenIds = [11],
                IgnoreEos = random.Next(4) == 0,
                Sampling = greedy ? new SamplingParams { Temperature = 0, RepetitionPenalty = random.Next(2) == 0 ? 1 : 1.3f } : NewSampling(random),
            };
        })];
    }

    private static SamplingParams NewSampling(Random random) => new()
    {
        Temperature = 0.5f + random.NextSingle(),
        TopP = random.Next(2) == 0 ? 1 : 0.9f,
        TopK = random.Next(3) == 0 ? 20 : 0,
        MinP = random.Next(3) == 0 ? 0.02f : 0,
        FrequencyPenalty = random.Next(3) == 0 ? 0.5f : 0,
        PresencePenalty = random.Next(3) == 0 ? -0.5f : 0,
        MinTokens = random.Next(4) == 0 ? 1 : 0,
        BadWords = random.Next(3) == 0 ? [[5], [3, 9]] : ImmutableArray<ImmutableArray<int>>.Empty,
        Seed = random.Next(),
    };
}
