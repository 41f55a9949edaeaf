using System.Globalization;
using System.Text.Json;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>Every policy against the float64 oracle of tests/golden/kv-policies: the same kept sets after every token, and the same logits.</summary>
public sealed class KvPolicyGoldenTests
{
    public static TheoryData<string, string> Runs()
    {
        var data = new TheoryData<string, string>();
        foreach (string name in KvGolden.Cases)
        {
            using var golden = new KvGolden(name);
            foreach ((string run, JsonElement settings) in golden.Runs)
                if (!settings.TryGetProperty("bits", out _))
                    data.Add(name, run);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Runs))]
    public async Task Kept_sets_and_logits_are_those_of_the_oracle(string name, string run)
    {
        using var golden = new KvGolden(name);
        using var backend = new CpuBackend(1);
        using Checkpoint checkpoint = Checkpoint.Open(golden.Folder);
        IKvPolicy policy = PolicyOf(golden.Runs.Single(other => other.Name == run), checkpoint.Config);
        KvLayout layout = policy.Layout(checkpoint.Config);
        DecoderModel model = DecoderModel.Load(checkpoint.Config, checkpoint, backend, layout, new DecoderLimits(512, 64));
        var options = new EngineOptions { MaxModelLength = 512, KvCacheBytes = 32 << 20, BlockSize = 16, TokenClasses = golden.Classes, MaxBatchTokens = 512, MaxChunkTokens = 77 };
        await using var engine = new InferenceEngine(model, policy, options, TimeProvider.System, startThread: false);
        engine.Loop.ChecksEveryStep = true;
        GenerationStream stream = engine.Submit(new GenerationRequest
        {
            PromptTokens = golden.Prompt,
            MaxTokens = golden.Forced.Length + 2,
            IgnoreEos = true,
            Sampling = new SamplingParams { Temperature = 0, TopLogprobs = checkpoint.Config.VocabularySize, ForcedTokens = golden.Forced },
        }).Stream!;

        string[] kept = golden.Kept(run);
        Sequence sequence = ((Generation)stream).Sequences[0];
        int compared = 0;
        while (engine.Loop.Step())
        {
            int forced = sequence.Computed - golden.Prompt.Length;
            if (sequence.Finish != FinishReason.None || forced < 0)
                continue;
            string lanes = KvGolden.Lanes(sequence.Cache!, layout.LanesPerGroup);
            if (KvGolden.Digest(lanes) != kept[forced])
                Assert.Fail($"After {forced} tokens kept {lanes}; the oracle keeps {golden.KeptText(run, forced) ?? "something else"}.");
            compared++;
            Assert.True(stream.TryRead(out GeneratedToken token));
            AssertLogits(golden, run, forced, token);
        }

        Assert.Equal(golden.Forced.Length + 1, compared);
    }

    private static void AssertLogits(KvGolden golden, string run, int forced, in GeneratedToken token)
    {
        float[] expected = golden.Logits(run, forced);
        for (int i = 0; i < golden.Columns.Length; i++)
        {
            int place = Array.IndexOf(token.Logprobs!.TopIds, golden.Columns[i]);
            Assert.Equal(expected[i] - expected[^1], token.Logprobs.TopLogprobs[place], 2e-4);
        }
    }

    private static IKvPolicy PolicyOf((string Name, JsonElement Settings) run, ModelConfig config)
    {
        var values = new Dictionary<string, string>();
        foreach (JsonProperty setting in run.Settings.EnumerateObject())
        {
            string text = setting.Value.GetRawText();
            switch (setting.Name)
            {
                case "sinks": values["sink_tokens"] = text; break;
                case "recent": values["recent_tokens"] = text; break;
                case "queries": values["observed_tokens"] = text; break;
                case "slide": values["slide"] = text; break;
                case "threshold": values["lazy_threshold"] = text; break;
                case "recovery": values["recovery_target"] = text; break;
                case "local_ratio": values["local_share"] = text; break;
                case "frequent_ratio": values["frequent_share"] = text; break;
                case "protected": values["protected_window_size"] = text; break;
                case "lazy_layers":
                    values["mode"] = "share";
                    values["full_share"] = (1 - setting.Value.GetDouble() / config.Layers).ToString(CultureInfo.InvariantCulture);
                    break;
                default: throw new InvalidOperationException($"The oracle's setting {setting.Name} is not known here.");
            }
        }

        string name = KvPolicyRegistry.Names.Where(known => run.Name.StartsWith(known, StringComparison.Ordinal)).MaxBy(known => known.Length)!;
        if (name == "fast-gen")
            (values["sink_tokens"], values["profile_tokens"], values["budget_grows"]) = ("0", "0", "false");
        return KvPolicyRegistry.Create(name, values);
    }
}
