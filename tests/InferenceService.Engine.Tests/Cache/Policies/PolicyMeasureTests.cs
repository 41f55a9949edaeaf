using System.Globalization;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>
/// What the policies measure in the prompt, against the oracle of tests/golden/kv-policies. A selector shows only what it decides, so
/// each number is enclosed: with a limit a little below it the decision is one, with a limit a little above it the other.
/// </summary>
public sealed class PolicyMeasureTests
{
    /// <summary>Golden numbers have six decimals; float32 sums over 300 rows add about 1e-6.</summary>
    private const double Close = 5e-6;

    [Theory]
    [InlineData("g1")]
    [InlineData("g2")]
    [InlineData("g4")]
    public void Lazy_layers_are_measured_as_the_oracle_does(string name)
    {
        using var golden = new PolicyOracleCase(name);
        double[] ratios = [.. golden.Report("sim-layer-kv-share").GetProperty("ratio").EnumerateArray().Select(ratio => ratio.GetDouble())];
        using var prompts = new Prompts(golden, KvGrouping.Layer);
        foreach (double threshold in ratios.SelectMany(ratio => new[] { ratio - Close, ratio + Close }))
        {
            var selector = (SimLayerKvPolicy.Selector)prompts.Select("sim-layer-kv", new()
            {
                ["lazy_threshold"] = Text(threshold),
                ["sink_tokens"] = "4",
                ["recent_tokens"] = "60",
                ["observed_tokens"] = "32",
            });
            Assert.Equal(ratios.Select(ratio => ratio > threshold), selector.Lazy.ToArray());
        }
    }

    [Theory]
    [InlineData("g1", 5)]
    [InlineData("g2", 1)]
    [InlineData("g4", 3)]
    public void Recovered_attention_is_measured_as_the_oracle_does(string name, int everyLane)
    {
        using var golden = new PolicyOracleCase(name);
        double[][] lanes = [.. golden.Report("fast-gen-0.9").GetProperty("lanes").EnumerateArray()
            .Select(lane => lane.GetProperty("recovery").EnumerateArray().Select(share => share.GetDouble()).ToArray())];
        using var prompts = new Prompts(golden, KvGrouping.Head);
        for (int lane = 0; lane < lanes.Length; lane += everyLane)
        {
            foreach (double target in lanes[lane].SelectMany(share => new[] { share - Close, share + Close }).Where(target => target < 1))
            {
                var selector = (FastGenPolicy.Selector)prompts.Select("fast-gen", new()
                {
                    ["recovery_target"] = Text(target),
                    ["sink_tokens"] = "0",
                    ["profile_tokens"] = "0",
                });
                int group = prompts.Layout.GroupOf(lane / golden.Config.KvHeads, lane % golden.Config.KvHeads);
                int cheapest = Array.FindIndex(lanes[lane], share => share >= target);
                Assert.Equal(cheapest < 0 ? FastGenPolicy.Plan.Full : (FastGenPolicy.Plan)cheapest, selector.Plans[group]);
            }
        }
    }

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>One engine that computes the golden prompt again and again, under a policy of each request's own.</summary>
    private sealed class Prompts : IDisposable
    {
        private readonly PolicyOracleCase _golden;
        private readonly InferenceEngine _engine;

        public Prompts(PolicyOracleCase golden, KvGrouping grouping)
        {
            (_golden, Layout) = (golden, KvLayout.Of(golden.Config, grouping));
            var format = new KvBlockFormat(DType.F32, 16, golden.Config.HeadDim, Layout.LanesPerGroup);
            _engine = new InferenceEngine(golden.Load(Layout), new FullKvPolicy(), new EngineOptions
            {
                MaxModelLength = 512,
                MaxBatchTokens = 128,
                KvCacheBytes = (long)format.BlockBytes * Layout.Groups * (golden.Prompt.Length / 16 + 4),
                TokenClasses = golden.Classes,
            }, TimeProvider.System, startThread: false);
        }

        public KvLayout Layout { get; }

        /// <summary>The policy's state at the end of the prompt.</summary>
        public KvSelector Select(string policy, Dictionary<string, string> values)
        {
            SubmitResult result = _engine.Submit(new GenerationRequest
            {
                PromptTokens = _golden.Prompt,
                MaxTokens = 2,
                IgnoreEos = true,
                Sampling = new SamplingParams { Temperature = 0 },
                KvPolicy = KvPolicyRegistry.Create(policy, values),
            });
            Assert.True(result.Refusal == Refusal.None, result.Reason);
            Sequence sequence = ((Generation)result.Stream!).Sequences[0];
            do
                Assert.True(_engine.Loop.Step(), "The engine has nothing to do.");
            while (sequence.Computed < sequence.PromptLength);
            KvSelector selector = sequence.Selector!;
            while (_engine.Loop.Step())
                Assert.NotEqual(FinishReason.Error, sequence.Finish);
            return selector;
        }

        public void Dispose()
        {
            _engine.Loop.Drain(cancelRest: true);
            _engine.Loop.Run();
        }
    }
}
