using System.Collections.Immutable;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Tests.Sampling;

public sealed class SamplerTests : IDisposable
{
    private const int Vocabulary = 203;
    private static readonly int[] Eos = [1, 2];

    private readonly CpuBackend _backend = new(1);
    private readonly Sampler _sampler;

    public SamplerTests() => _sampler = NewSampler(Vocabulary);

    public void Dispose() => _backend.Dispose();

    private Sampler NewSampler(int vocabulary) => new(VocabularyOnly.Config(vocabulary, Eos), _backend);

    private static Sequence NewSequence(GenerationRequest request, int[] generated)
    {
        var generation = new Generation(request, new FullKvPolicy(), new Ticket(1, request.Sampling.Seed ?? 0, 0, false, new ClientShare(0)), 16, _ => { }, () => { });
        Sequence sequence = generation.Sequences[0];
        foreach (int token in generated)
        {
            sequence.Append(token);
            sequence.Sampling.Counts?.AddGenerated(token);
        }

        return sequence;
    }

    private static GenerationRequest Request(SamplingParams sampling, int[]? prompt = null) =>
        new() { PromptTokens = prompt ?? [3, 4, 5], MaxTokens = 100, Sampling = sampling };

    private int Choose(float[] logits, SamplingParams sampling, int[]? generated = null) =>
        _sampler.Choose(NewSequence(Request(sampling), generated ?? []), logits);

    private static float[] Logits(Random random, bool ties = false) =>
        [.. Enumerable.Range(0, Vocabulary).Select(_ => ties ? random.Next(-8, 9) / 2f : (random.NextSingle() - 0.5f) * 12)];

    public static TheoryData<string> Parameters =>
        ["none", "greedy", "temperature", "top_p", "top_k", "min_p", "frequency", "presence", "repetition", "bias", "allowed", "bad words", "min_tokens", "all"];

    [Theory]
    [MemberData(nameof(Parameters))]
    public void Every_parameter_agrees_with_the_oracle(string parameter) => Property.Check(150, seed =>
    {
        var random = new Random(seed);
        bool all = parameter == "all";
        bool Has(string name) => parameter == name || (all && random.Next(3) > 0);
        int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(Vocabulary))];
        GenerationRequest request = Request(
            new SamplingParams
            {
                Temperature = Has("greedy") && !all ? 0 : Has("temperature") ? random.NextSingle() * 2 : 1,
                TopP = Has("top_p") ? 0.05f + random.NextSingle() * 0.95f : 1,
                TopK = Has("top_k") ? random.Next(0, 40) : 0,
                MinP = Has("min_p") ? random.NextSingle() * 0.3f : 0,
                FrequencyPenalty = Has("frequency") ? random.NextSingle() * 4 - 2 : 0,
                PresencePenalty = Has("presence") ? random.NextSingle() * 4 - 2 : 0,
                RepetitionPenalty = Has("repetition") ? 0.5f + random.NextSingle() * 2 : 1,
                LogitBias = Has("bias") ? [.. Ids(5).Distinct().Select(id => new LogitBias(id, random.NextSingle() * 20 - 10))] : [],
                AllowedTokenIds = Has("allowed") ? [.. Ids(60)] : default,
                BadWords = Has("bad words") ? [[7], [8, 9], [8, 8, 10], [9, 8, 11]] : ImmutableArray<ImmutableArray<int>>.Empty,
                MinTokens = Has("min_tokens") ? random.Next(0, 8) : 0,
                Seed = random.NextInt64(long.MaxValue / 2),
            },
            Ids(20)) with
        { StopTokenIds = [6], IgnoreEos = random.Next(3) == 0 };
        int[] generated = [.. Ids(random.Next(6)), .. random.Next(2) == 0 ? (int[])[8, 8] : [9, 8]];
        float[] logits = Logits(random);
        double[] processed = SamplerOracle.Process(logits, request, generated, Eos);

        int position = request.PromptTokens.Length + generated.Length;
        int expected = SamplerOracle.Choose(processed, request.Sampling, request.Sampling.Seed!.Value, position);
        Assert.Equal(expected, _sampler.Choose(NewSequence(request, generated), logits));
    });

    [Fact]
    public void Filters_keep_exactly_the_oracles_set_also_among_ties() => Property.Check(200, seed =>
    {
        var random = new Random(seed);
        var sampling = new SamplingParams
        {
            Temperature = 0.5f + random.NextSingle(),
            TopK = random.Next(0, 30),
            TopP = 0.1f + 0.9f * random.NextSingle(),
            MinP = random.Next(2) == 0 ? 0 : 0.1f * random.NextSingle(),
            TopLogprobs = Vocabulary,
            ProcessedLogprobs = true,
            Seed = seed,
        };
        float[] logits = Logits(random, ties: true);
        Sequence sequence = NewSequence(Request(sampling), []);
        int token = _sampler.Choose(sequence, logits);
        Dictionary<int, double> expected = SamplerOracle.Distribution([.. logits.Select(value => (double)value)], sampling);
        TokenLogprobs report = sequence.Logprobs!;
        int kept = report.TopLogprobs.Count(value => value > LogSoftmax.NotFinite);
        Assert.Equal(expected.Keys.Order(), report.TopIds.Take(kept).Order());
        Assert.Contains(token, expected.Keys);
        for (int i = 0; i < kept; i++)
            Assert.Equal(Math.Log(expected[report.TopIds[i]]), report.TopLogprobs[i], 1e-4);
    });

    [Fact]
    public void Greedy_ties_go_to_the_lowest_id() =>
        Assert.Equal(2, Choose([0, 1, 5, -5, 5, 5], new SamplingParams { Temperature = 0 }));

    [Fact]
    public void Negative_zero_and_zero_are_a_tie() =>
        Assert.Equal(1, Choose([-1, -0f, 0f], new SamplingParams { Temperature = 0 }));

    [Fact]
    public void A_temperature_below_a_hundredth_is_raised_to_it()
    {
        float[] logits = Logits(new Random(1));
        for (int seed = 0; seed < 50; seed++)
        {
            var at = new SamplingParams { Temperature = 0.01f, Seed = seed };
            Assert.Equal(Choose(logits, at), Choose(logits, at with { Temperature = 1e-7f }));
        }
    }

    [Fact]
    public void Draws_follow_the_distribution_and_the_bound_would_notice_another()
    {
        float[] logits = [.. Enumerable.Range(0, 40).Select(i => 2 * MathF.Sin(i))];
        const int draws = 40_000;
        int[] counts = new int[logits.Length];
        Sampler sampler = NewSampler(logits.Length);
        for (int seed = 0; seed < draws; seed++)
            counts[sampler.Choose(NewSequence(Request(new SamplingParams { Seed = seed * 7919L }), []), logits)]++;
        double bound = logits.Length - 1 + 4 * Math.Sqrt(2 * (logits.Length - 1));
        Assert.InRange(ChiSquare(counts, logits, 1), 0, bound);
        Assert.True(ChiSquare(counts, logits, 1.1) > bound, "A temperature 10 % off goes unnoticed.");
    }

    [Fact]
    public void Positions_of_one_seed_are_independent_draws()
    {
        float[] logits = [.. Enumerable.Range(0, 16).Select(i => i % 3 * 0.5f)];
        int[] counts = new int[16], pairs = new int[256];
        Sampler sampler = NewSampler(16);
        Sequence sequence = NewSequence(Request(new SamplingParams { Seed = 9 }) with { MaxTokens = 40_000 }, []);
        int last = 0;
        for (int i = 0; i < 40_000; i++)
        {
            int token = sampler.Choose(sequence, logits);
            sequence.Append(token);
            counts[token]++;
            pairs[last * 16 + token]++;
            last = token;
        }

        float[] pairLogits = [.. logits.SelectMany(_ => logits, (a, b) => a + b)];
        Assert.InRange(ChiSquare(counts, logits, 1), 0, 15 + 4 * Math.Sqrt(30));
        Assert.InRange(ChiSquare(pairs, pairLogits, 1), 0, 255 + 4 * Math.Sqrt(510));
    }

    [Fact]
    public void Logits_that_are_not_numbers_end_the_request_with_an_error()
    {
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity])
        {
            Sequence sequence = NewSequence(Request(new SamplingParams()), []);
            float[] logits = Logits(new Random(1));
            logits[100] = bad;
            Assert.Equal(-1, _sampler.Choose(sequence, logits));
            Assert.Equal(FinishReason.Error, sequence.Finish);
        }
    }

    [Fact]
    public void A_request_that_masks_every_token_ends_with_an_error()
    {
        foreach (float temperature in (float[])[0, 1])
        {
            Sequence sequence = NewSequence(Request(new SamplingParams { Temperature = temperature, AllowedTokenIds = [7], BadWords = [[7]] }), []);
            Assert.Equal(-1, _sampler.Choose(sequence, Logits(new Random(1))));
            Assert.Equal(FinishReason.NothingAllowed, sequence.Finish);
            Assert.Contains("masked", sequence.Generation.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Logprobs_are_raw_unless_processed_ones_are_asked_for()
    {
        float[] logits = [1, 2, 3, 4, 0, 0];
        var sampling = new SamplingParams { Temperature = 0, LogitBias = [new LogitBias(0, 100)], TopLogprobs = 2 };
        foreach (bool processed in (bool[])[false, true])
        {
            Sequence sequence = NewSequence(Request(sampling with { ProcessedLogprobs = processed }), []);
            Assert.Equal(0, _sampler.Choose(sequence, logits));
            double normaliser = Math.Log(logits.Sum(value => Math.Exp(value)));
            Assert.Equal(processed ? 0 : 1 - normaliser, sequence.Logprobs!.Logprob, 1e-5);
            Assert.Equal(processed ? [0, 3] : [3, 2], sequence.Logprobs.TopIds);
        }
    }

    [Fact]
    public void Extreme_logits_and_temperatures_still_choose_the_only_possible_token()
    {
        float[] logits = [-3e38f, 3e38f, 0, float.NegativeInfinity];
        foreach (float temperature in (float[])[0, 0.01f, 1, 2])
            Assert.Equal(1, Choose(logits, new SamplingParams { Temperature = temperature, TopP = 0.9f, TopK = 3, MinP = 0.1f, Seed = 4 }));
    }

    private static double ChiSquare(int[] counts, float[] logits, double temperature)
    {
        double[] weights = [.. logits.Select(value => Math.Exp(value / temperature))];
        double total = weights.Sum(), draws = counts.Sum();
        return counts.Select((count, i) => Math.Pow(count - draws * weights[i] / total, 2) / (draws * weights[i] / total)).Sum();
    }
}
