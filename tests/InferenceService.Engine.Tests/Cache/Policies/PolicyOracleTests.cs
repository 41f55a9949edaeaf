using System.Globalization;
using System.Text.Json;
using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>
/// The engine against an independent float64 oracle with dense attention over explicit kept sets (tests/golden/kv-policies): a prompt of
/// 300 tokens and 64 forced ones under every policy, the kept positions of every lane after every step, the logits of every step.
/// </summary>
public sealed class PolicyOracleTests
{
    /// <summary>Largest difference of a log-probability; seen: 1.4e-5.</summary>
    private const double Tolerance = 1e-4;

    /// <summary>
    /// The same with packed blocks, times the largest logit (8 to 9), because 1e-4 itself does not hold there: a value within float32
    /// noise of a rounding boundary gets its other neighbour as code or as float16 scale. README.md has the figures.
    /// </summary>
    private const double PackedTolerance = 1e-4;

    public static TheoryData<string, string> Runs
    {
        get
        {
            var runs = new TheoryData<string, string>();
            foreach ((string name, string run) in PolicyOracleCase.All())
                runs.Add(name, run);
            return runs;
        }
    }

    [Theory, MemberData(nameof(Runs))]
    public void Kept_sets_and_logits_equal_the_oracle(string name, string run)
    {
        using var golden = new PolicyOracleCase(name);
        IKvPolicy policy = Policy(golden, run);
        using var engine = new Run(golden, policy, policy.Layout(golden.Config), golden.Settings(run), chunk: 64);
        engine.AssertEquals(run);
    }

    [Theory]
    [InlineData("streaming-llm", 7)]
    [InlineData("sim-layer-kv-threshold-slide", 300)]
    [InlineData("fast-gen-0.95", 33)]
    [InlineData("full-4bit", 50)]
    [InlineData("streaming-llm-4bit", 21)]
    public void Neither_chunks_nor_a_finer_layout_matter(string run, int chunk)
    {
        using var golden = new PolicyOracleCase("g2");
        using var engine = new Run(golden, Policy(golden, run), KvLayout.Of(golden.Config, KvGrouping.Head), golden.Settings(run), chunk);
        engine.AssertEquals(run);
    }

    [Fact]
    public void Every_policy_has_a_run()
    {
        string[] covered = [.. PolicyOracleCase.All().Select(pair => KvPolicyRegistry.Names.FirstOrDefault(pair.Run.StartsWith)).OfType<string>().Distinct()];
        Assert.Equal(KvPolicyRegistry.Names, covered.Order(StringComparer.Ordinal));
    }

    /// <summary>The policy of a run, its settings translated into the option names of the registry.</summary>
    private static IKvPolicy Policy(PolicyOracleCase golden, string run)
    {
        string name = KvPolicyRegistry.Names.Single(run.StartsWith);
        JsonElement settings = golden.Settings(run);
        var values = new Dictionary<string, string>();
        void Take(string from, string to)
        {
            if (settings.TryGetProperty(from, out JsonElement value))
                values[to] = value.GetRawText();
        }

        Take("sinks", "sink_tokens");
        Take("recent", "recent_tokens");
        Take("queries", "observed_tokens");
        Take("slide", "slide");
        Take("threshold", "lazy_threshold");
        Take("recovery", "recovery_target");
        Take("local_ratio", "local_share");
        Take("frequent_ratio", "frequent_share");
        Take("protected", "protected_window_size");
        Take("grows", "budget_grows");
        Take("bits", "key_bits");
        Take("bits", "value_bits");
        Take("residual", "residual_tokens");
        if (settings.TryGetProperty("lazy_layers", out JsonElement lazy))
        {
            values["mode"] = "share";
            values["full_share"] = (1 - lazy.GetDouble() / golden.Config.KvSources.Distinct().Count()).ToString(CultureInfo.InvariantCulture);
        }

        if (name == "fast-gen")
        {
            values["sink_tokens"] = settings.TryGetProperty("sinks", out JsonElement sinks) ? sinks.GetRawText() : "0";
            values["profile_tokens"] = settings.TryGetProperty("profiled", out JsonElement profiled) ? profiled.GetRawText() : "0";
            values["gqa"] = settings.TryGetProperty("each_head", out _) ? "min" : "mean";
        }

        return KvPolicyRegistry.Create(name, values);
    }

    /// <summary>One engine, one request, one step at a time.</summary>
    private sealed class Run : IDisposable
    {
        private readonly PolicyOracleCase _golden;
        private readonly IKvPolicy _policy;
        private readonly DecoderModel _model;
        private readonly InferenceEngine _engine;
        private readonly bool _packs;

        public Run(PolicyOracleCase golden, IKvPolicy policy, KvLayout layout, JsonElement settings, int chunk)
        {
            (_golden, _policy, _model) = (golden, policy, golden.Load(layout));
            _packs = settings.TryGetProperty("bits", out JsonElement bits);
            int blockSize = _packs ? 32 : 16, total = golden.Prompt.Length + golden.Forced.Length + 2;
            int packedBits = _packs ? bits.GetInt32() : 0;
            var format = new KvBlockFormat(DType.F32, blockSize, golden.Config.HeadDim, layout.LanesPerGroup, packedBits);
            _engine = new InferenceEngine(_model, policy, new EngineOptions
            {
                MaxModelLength = 512,
                MaxBatchTokens = 512,
                MaxChunkTokens = chunk,
                PromptChunkTokens = 64, // where passes are run over chunks, as the oracle does
                BlockSize = blockSize,
                Sums = policy.Sums,
                KvPackedBits = packedBits,
                KvCacheBytes = (long)format.BlockBytes * layout.Groups * (total / blockSize + 3),
                TokenClasses = golden.Classes,
            }, TimeProvider.System, startThread: false);
            _engine.Loop.ChecksEveryStep = true;
        }

        /// <summary>Runs prompt and forced tokens and compares every step.</summary>
        public void AssertEquals(string run)
        {
            SubmitResult result = _engine.Submit(new GenerationRequest
            {
                PromptTokens = _golden.Prompt,
                // Two more than forced: the sequence still runs when its last forced token has been computed.
                MaxTokens = _golden.Forced.Length + 2,
                IgnoreEos = true,
                Sampling = new SamplingParams { Temperature = 0, ForcedTokens = _golden.Forced, TopLogprobs = _golden.Config.VocabularySize },
            });
            Assert.True(result.Refusal == Refusal.None, result.Reason);
            Sequence sequence = ((Generation)result.Stream!).Sequences[0];
            string[] hashes = _golden.KeptHashes(run);
            float[][] logits = _golden.Logits(run);
            double tolerance = _packs ? PackedTolerance * logits.Max(row => row[..^1].Max(Math.Abs)) : Tolerance;
            for (int forced = 0; forced < hashes.Length;)
            {
                Assert.True(_engine.Loop.Step(), "The engine has nothing to do.");
                if (sequence.Computed < sequence.PromptLength)
                    continue;
                Assert.True(sequence.Cache is not null && sequence.Computed == sequence.PromptLength + forced, result.Stream.Error);
                AssertKept(run, forced, Kept(sequence.Cache!), hashes[forced]);
                Assert.True(result.Stream.TryRead(out GeneratedToken token));
                AssertLogits(forced, logits[forced], token.Logprobs!, tolerance);
                forced++;
            }
        }

        public void Dispose()
        {
            _engine.Loop.Drain(cancelRest: true);
            _engine.Loop.Run();
        }

        /// <summary>[layer][kv head] positions that the next token will see beside itself.</summary>
        private string[][] Kept(SequenceCache cache)
        {
            var layers = new string[_golden.Config.Layers][];
            for (int layer = 0; layer < layers.Length; layer++)
            {
                layers[layer] = new string[_golden.Config.KvHeads];
                for (int head = 0; head < layers[layer].Length; head++)
                    layers[layer][head] = PolicyOracleCase.LaneText(Positions(cache, _model.Layout.GroupOf(layer, head)));
            }

            return layers;
        }

        private IEnumerable<int> Positions(SequenceCache cache, int group)
        {
            BlockTable table = cache.Tables[group];
            KvMask mask = _policy.Mask;
            for (int slot = 0; slot < table.Length; slot++)
            {
                int position = cache.SlotPositions is null ? slot : cache.SlotPositions[group][slot];
                if (position != SequenceCache.DeadSlot && (mask.IsNone || slot < mask.Sinks || slot > table.Length - mask.Window))
                    yield return position;
            }
        }

        private void AssertKept(string run, int forced, string[][] kept, string hash)
        {
            string[][]? expected = _golden.Kept(run, forced);
            for (int layer = 0; expected is not null && layer < kept.Length; layer++)
                for (int head = 0; head < kept[layer].Length; head++)
                    Assert.True(expected[layer][head] == kept[layer][head],
                        $"After {forced} forced tokens, layer {layer}, head {head} keeps\n{kept[layer][head]}\nfor\n{expected[layer][head]}");
            Assert.True(PolicyOracleCase.Hash(kept) == hash, $"The sets kept after {forced} forced tokens differ from the oracle's.");
        }

        private void AssertLogits(int forced, float[] expected, TokenLogprobs actual, double tolerance)
        {
            for (int column = 0; column < _golden.Columns.Length; column++)
            {
                double logprob = expected[column] - expected[^1];
                double difference = Math.Abs(actual.TopLogprobs[Array.IndexOf(actual.TopIds, _golden.Columns[column])] - logprob);
                Assert.True(difference <= tolerance, // false for NaN
                    $"After {forced} forced tokens, token {_golden.Columns[column]}: {difference:E1} away from {logprob}, {tolerance:E1} allowed.");
            }
        }
    }
}
