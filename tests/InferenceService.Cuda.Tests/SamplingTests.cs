using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Compute.Tests;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;
using InferenceService.Engine.Tests.Sampling;

namespace InferenceService.Cuda.Tests;

/// <summary>Tokens chosen on the device are those that the engine's own sampler chooses from equal logits.</summary>
[RequiresCuda]
public sealed class SamplingTests : IDisposable
{
    private static readonly int[] Forced = [1];

    private readonly CudaBackend _cuda = CudaUnderTest.Backend();
    private readonly CpuBackend _cpu = new(1);

    public void Dispose()
    {
        _cuda.Dispose();
        _cpu.Dispose();
    }

    [ContractFact]
    public void Equal_logits_give_the_tokens_of_the_processor_under_every_parameter() => Property.Check(60, random =>
    {
        int vocabulary = random.Next(8) == 0 ? random.Next(1, 8) : random.Next(8, 1200), rows = random.Next(1, 6);
        Sequence[] sequences = [.. Enumerable.Range(0, rows).Select(_ => NewSequence(random, vocabulary))];
        AssertEqual(vocabulary, sequences, [.. sequences.Select(_ => Logits(random, vocabulary))]);
    });

    [ContractFact]
    public void Large_vocabularies_give_the_tokens_of_the_processor() => Property.Check(4, random =>
    {
        const int vocabulary = 32_003;
        AssertEqual(vocabulary, [NewSequence(random, vocabulary)], [Logits(random, vocabulary)]);
    });

    [ContractFact]
    public void A_seed_gives_its_token_in_any_row_and_draws_follow_their_probabilities()
    {
        const int vocabulary = 5, draws = 400;
        float[] logits = [0, 1, 2, float.NegativeInfinity, -1];
        int[] counts = new int[vocabulary];
        for (int batch = 0; batch < draws / 40; batch++)
        {
            Sequence[] sequences = [.. Enumerable.Range(0, 40).Select(i => NewSequence(new SamplingParams { Seed = 40 * batch + i }, [1], []))];
            foreach (int token in Chosen(vocabulary, sequences, [.. sequences.Select(_ => logits)]))
                counts[token]++;
        }

        double total = logits.Sum(logit => Math.Exp(logit));
        for (int id = 0; id < vocabulary; id++)
        {
            double expected = draws * Math.Exp(logits[id]) / total;
            Assert.InRange(counts[id], expected - 5 * Math.Sqrt(expected) - 1e-9, expected + 5 * Math.Sqrt(expected) + 1e-9);
        }
    }

    [ContractFact]
    public void Rows_without_a_number_or_without_a_token_say_so()
    {
        float[] none = [float.NegativeInfinity, float.NegativeInfinity], bad = [0, float.NaN], endless = [0, float.PositiveInfinity], good = [0, 1];
        foreach (float temperature in (float[])[0, 1])
        {
            Sequence[] sequences = [.. Enumerable.Range(0, 4).Select(_ => NewSequence(new SamplingParams { Temperature = temperature, TopK = 1 }, [1], []))];
            Assert.Equal([TokenOrder.NothingAllowed, TokenOrder.NotNumbers, TokenOrder.NotNumbers, 1], Chosen(2, sequences, [none, bad, endless, good]));
        }
    }

    [ContractFact]
    public void What_only_the_host_does_is_refused_and_what_is_not_there_is_reported()
    {
        var device = new DeviceSampler(_cuda);
        Assert.False(TryAdd(device, NewSequence(new SamplingParams { TopLogprobs = 0 }, [1], []), 0));
        Assert.False(TryAdd(device, NewSequence(new SamplingParams { AllowedTokenIds = [1] }, [1], []), 0));
        Assert.False(TryAdd(device, NewSequence(new SamplingParams { BadWords = [[1]] }, [1], []), 0));
        Assert.False(TryAdd(device, NewSequence(new SamplingParams { MinTokens = 1 }, [1], []), 0));
        Assert.False(TryAdd(device, NewSequence(new SamplingParams { ForcedTokens = Forced }, [1], []), 0));
        Assert.False(TryAdd(device, NewSequence(new SamplingParams { LogitBias = [new(1, 2), new(1, 3)] }, [1], []), 0));
        Assert.Equal(0, device.Count);
        Assert.True(TryAdd(device, NewSequence(new SamplingParams { LogitBias = [new(5, 2)] }, [1], []), 0));
        Tensor logits = _cuda.Allocate(DType.F32, 1, 5);
        Assert.Equal("Order 0, for row 0 of the logits, names a row, a change or a token that is not there.", Assert.Throws<ShapeException>(() => Chosen(device, logits)).Message);
        Assert.True(TryAdd(device, NewSequence(new SamplingParams(), [1], []), 1));
        Assert.Throws<ShapeException>(() => Chosen(device, logits));
    }

    private void AssertEqual(int vocabulary, Sequence[] sequences, float[][] logits)
    {
        var host = new Sampler(VocabularyOnly.Config(vocabulary), _cpu);
        int[] expected = [.. sequences.Zip(logits, (sequence, row) => host.Choose(sequence, row))], actual = Chosen(vocabulary, sequences, logits);
        for (int i = 0; i < expected.Length; i++)
            Assert.True(expected[i] == Math.Max(-1, actual[i]), $"row {i} of {expected.Length}: {actual[i]} instead of {expected[i]}, {sequences[i].Sampling.Params}");
    }

    /// <summary>Rows in another order than the sequences.</summary>
    private int[] Chosen(int vocabulary, Sequence[] sequences, float[][] logits)
    {
        Tensor rows = _cuda.Allocate(DType.F32, logits.Length, vocabulary);
        _cuda.Upload(MemoryMarshal.AsBytes(logits.Reverse().SelectMany(row => row).ToArray().AsSpan()), rows);
        var device = new DeviceSampler(_cuda);
        for (int i = 0; i < sequences.Length; i++)
            Assert.True(TryAdd(device, sequences[i], sequences.Length - 1 - i));
        return Chosen(device, rows);
    }

    private static bool TryAdd(DeviceSampler device, Sequence sequence, int row) => device.TryAdd(sequence, row, sequence.TokenCount, device.Count);

    /// <summary>What the host reads is also what the next step would find.</summary>
    private int[] Chosen(DeviceSampler device, Tensor logits)
    {
        Tensor next = _cuda.Allocate(DType.I32, 1, device.Count);
        device.Start(logits, next);
        int[] tokens = device.Finish(out _).ToArray(), placed = new int[next.Columns];
        _cuda.Download(next, MemoryMarshal.AsBytes(placed.AsSpan()));
        Assert.Equal(tokens.Select(token => Math.Max(0, token)), placed);
        return tokens;
    }

    private static Sequence NewSequence(Random random, int vocabulary)
    {
        int[] Ids(int most) => [.. Enumerable.Range(0, random.Next(1, most)).Select(_ => random.Next(vocabulary))];
        bool Sometimes() => random.Next(3) == 0;
        return NewSequence(
            new SamplingParams
            {
                Temperature = random.Next(4) switch { 0 => 0, 1 => 1, 2 => 0.001f, _ => random.NextSingle() * 2 },
                TopP = Sometimes() ? random.NextSingle() * 0.99f + 0.01f : 1,
                TopK = Sometimes() ? random.Next(1, 2 * vocabulary) : Sometimes() ? random.Next(1, 10) : 0,
                MinP = Sometimes() ? random.NextSingle() : 0,
                FrequencyPenalty = Sometimes() ? random.NextSingle() * 4 - 2 : 0,
                PresencePenalty = Sometimes() ? random.NextSingle() * 4 - 2 : 0,
                RepetitionPenalty = Sometimes() ? random.NextSingle() * 2 + 0.1f : 1,
                LogitBias = Sometimes() ? [.. Ids(20).Distinct().Select(id => new LogitBias(id, random.NextSingle() * 20 - 10))] : [],
                Seed = random.NextInt64(),
            },
            Ids(30), random.Next(2) == 0 ? [] : Ids(30));
    }

    private static Sequence NewSequence(SamplingParams sampling, int[] prompt, int[] generated)
    {
        var request = new GenerationRequest { PromptTokens = prompt, MaxTokens = 100, Sampling = sampling };
        var generation = new Generation(request, new FullKvPolicy(), new Ticket(1, sampling.Seed ?? 0, 0, false, new ClientShare(0)), 16, _ => { }, () => { });
        Sequence sequence = generation.Sequences[0];
        foreach (int token in generated)
        {
            sequence.Append(token);
            sequence.Sampling.Counts?.AddGenerated(token);
        }

        return sequence;
    }

    /// <summary>Ties, masked tokens, sharp and flat rows.</summary>
    private static float[] Logits(Random random, int vocabulary)
    {
        (float width, bool ties, bool masks) = (random.Next(3) switch { 0 => 0.1f, 1 => 12, _ => 60 }, random.Next(3) == 0, random.Next(3) == 0);
        return
        [
            .. Enumerable.Range(0, vocabulary).Select(id =>
                masks && id > 0 && random.Next(3) == 0 ? float.NegativeInfinity : ties ? random.Next(-8, 9) / 2f : (random.NextSingle() - 0.5f) * width),
        ];
    }
}
