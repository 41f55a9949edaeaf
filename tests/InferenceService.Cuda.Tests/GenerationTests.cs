using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Compute.Tests;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Cuda.Tests;

/// <summary>The whole engine on the device, every policy: it says what it says on the processor.</summary>
[RequiresCuda]
public sealed class GenerationTests
{
    private const int Vocabulary = 89, NewTokens = 14;

    internal static readonly (string Policy, string Values)[] Policies =
    [
        ("full", ""),
        ("streaming-llm", "sink_tokens=3 recent_tokens=9"),
        ("sim-layer-kv", "lazy_threshold=-1 sink_tokens=3 recent_tokens=9 observed_tokens=5"),
        ("sim-layer-kv", "mode=share sink_tokens=2 recent_tokens=6 observed_tokens=4 slide=false"),
        ("fast-gen", "recovery_target=0.6 profile_tokens=8 local_share=0.2 frequent_share=0.2 sink_tokens=1 protected_window_size=2"),
        ("fast-gen", "gqa=min recovery_target=0.5 profile_tokens=8 local_share=0.2 frequent_share=0.2 sink_tokens=1 protected_window_size=2"),
    ];

    [ContractFact]
    public async Task Every_policy_gives_the_tokens_and_the_probabilities_of_the_processor()
    {
        foreach ((string policy, string values) in Policies)
            await AssertSame(NewConfig(), () => Create(policy, values), options => options, WeightFormat.Stored, policy);
    }

    [ContractFact]
    public async Task Heads_that_tensor_cores_serve_give_the_tokens_of_the_processor() => await AssertSame(
        NewConfig() with { HeadDim = 32, Rope = new RopeConfig { Theta = 10_000, RotaryDim = 32 } }, () => Create("full", ""), options => options with { KvType = DType.BF16 }, WeightFormat.Stored,
        "heads of 32");

    [ContractFact]
    public async Task Packed_caches_give_the_tokens_of_the_processor()
    {
        foreach (int bits in (int[])[4, 8])
        {
            await AssertSame(
                NewConfig(), () => KvPolicyRegistry.Create("full", new Dictionary<string, string> { ["key_bits"] = $"{bits}", ["residual_tokens"] = "32" }),
                options => options with { BlockSize = 32, KvPackedBits = bits, KvType = DType.BF16 }, WeightFormat.Stored, $"{bits} bits");
        }
    }

    [ContractFact]
    public async Task Layers_that_share_caches_give_the_tokens_of_the_processor() =>
        await AssertSame(
            NewConfig() with
            {
                Architecture = "LCKVLlamaForCausalLM",
                Layers = 4,
                Windows = [0, 0, 0, 0],
                UsesRope = [true, true, true, true],
                KvSources = [0, 2, 2, 3],
                ForwardPasses = 2,
                BackwardPasses = 1,
            },
            () => Create("lckv", ""), options => options, WeightFormat.Stored, "lckv");

    [ContractFact]
    public async Task Packed_weights_give_the_tokens_of_the_processor()
    {
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.Int8, WeightFormat.Int4, WeightFormat.F16]) // of binary16 the processor keeps what is stored
            await AssertSame(NewConfig(), () => Create("full", ""), options => options with { KvType = format == WeightFormat.F16 ? DType.F16 : DType.BF16 }, format, $"{format}");
    }

    private static async Task AssertSame(
        ModelConfig config, Func<IKvPolicy> policy, Func<EngineOptions, EngineOptions> change, WeightFormat format, string what)
    {
        (int Token, float Logprob)[][] expected, actual;
        List<KvUsage> keptThere = [], keptHere = [];
        using (var cpu = new CpuBackend(1))
            expected = await RunAsync(cpu, config, policy(), change, format, keptThere);
        using (CudaBackend cuda = CudaUnderTest.Backend(options => options with { CheckEachVerb = false }))
            actual = await RunAsync(cuda, config, policy(), change, format, keptHere);
        Assert.Equal(keptThere, keptHere);
        // An x, or a key in 16 bits, that rounds the other way moves a logit by a step of its format.
        double allowed = format != WeightFormat.Stored ? 0.02 : what.StartsWith("heads", StringComparison.Ordinal) ? 1e-3 : 1e-4;
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(expected[i].Select(one => one.Token).SequenceEqual(actual[i].Select(one => one.Token)), $"{what}: request {i} differs.");
            Assert.All(expected[i].Zip(actual[i]), pair => Assert.InRange(pair.First.Logprob - pair.Second.Logprob, -allowed, allowed));
        }
    }

    /// <summary>Three requests together, prompts in chunks.</summary>
    /// <param name="kept">Gets what each held when it ended.</param>
    internal static async Task<(int Token, float Logprob)[][]> RunAsync(
        IBackend backend, ModelConfig config, IKvPolicy policy, Func<EngineOptions, EngineOptions> change, WeightFormat format,
        List<KvUsage>? kept = null)
    {
        using var weights = new RandomWeights(config, 5, DType.F32);
        DecoderModel model = DecoderModel.Load(config, weights, backend, policy.Layout(config), new DecoderLimits(64, 16), format: format);
        EngineOptions options = change(new EngineOptions
        {
            MaxModelLength = 128,
            MaxBatchTokens = 64,
            MaxChunkTokens = 17,
            MaxNumSeqs = 4,
            BlockSize = 4,
            PromptChunkTokens = 8,
            KvCacheBytes = 1 << 20,
            TokenClasses = new TokenClasses([0, 1], [2, 3, 4, 5, 6, 7, 8, 9]),
            Sums = AttentionSums.Columns | AttentionSums.Band | AttentionSums.RangeMass | AttentionSums.Heads,
            Seed = 42,
        });
        await using var engine = new InferenceEngine(model, policy, options, TimeProvider.System);
        GenerationStream[] streams = [.. new[] { options.KvPackedBits > 0 ? 100 : 40, 7, 23 }.Select((length, seed) => engine.Submit(new GenerationRequest
        {
            PromptTokens = Enumerable.Range(0, length).Select(i => (i * 31 + seed * 17 + i * i * seed) % Vocabulary).ToArray(),
            MaxTokens = NewTokens,
            Sampling = new SamplingParams { Temperature = 0, TopLogprobs = 1 },
        }).Stream!)];
        var said = new (int, float)[streams.Length][];
        for (int i = 0; i < streams.Length; i++)
        {
            var tokens = new List<(int, float)>();
            while (await streams[i].WaitToReadAsync(CancellationToken.None))
            {
                while (streams[i].TryRead(out GeneratedToken token))
                {
                    Assert.NotEqual(FinishReason.Error, token.Finish);
                    if (token.TokenId >= 0)
                        tokens.Add((token.TokenId, token.Logprobs!.Logprob));
                }
            }

            Assert.Equal(NewTokens, tokens.Count);
            kept?.Add(streams[i].KvUsage);
            said[i] = [.. tokens];
        }

        return said;
    }

    internal static IKvPolicy Create(string policy, string values) => KvPolicyRegistry.Create(
        policy, values.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(value => value.Split('=')).ToDictionary(value => value[0], value => value[1]));

    internal static ModelConfig NewConfig() => new()
    {
        Architecture = "LlamaForCausalLM",
        HiddenSize = 32,
        Layers = 2,
        Heads = 4,
        KvHeads = 2,
        HeadDim = 8,
        IntermediateSize = 64,
        VocabularySize = Vocabulary,
        MaxPositions = 128,
        RmsNormEpsilon = 1e-5f,
        Rope = new RopeConfig { Theta = 10_000, RotaryDim = 8 },
        Windows = [0, 0],
        UsesRope = [true, true],
        EosTokenIds = [],
    };
}
