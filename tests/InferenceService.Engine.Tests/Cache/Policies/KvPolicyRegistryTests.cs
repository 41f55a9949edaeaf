using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

public sealed class KvPolicyRegistryTests
{
    [Theory]
    [InlineData("nonesuch", "", null, "KV policy 'nonesuch' is unknown; known: fast-gen, full, lckv, sim-layer-kv, streaming-llm.")]
    [InlineData("streaming-llm", "recent_tokens=0", "recent_tokens", "recent_tokens must be a whole number from 1 to 1000000, got \"0\".")]
    [InlineData("streaming-llm", "recent_tokens=1.5", "recent_tokens", "recent_tokens must be a whole number from 1 to 1000000, got \"1.5\".")]
    [InlineData("streaming-llm", "recent_tokens=+5", "recent_tokens", "recent_tokens must be 1 to 1000000, got \"+5\".")]
    [InlineData("streaming-llm", "recent_tokens=5\t", "recent_tokens", "recent_tokens must be 1 to 1000000, got \"5?\".")]
    [InlineData("streaming-llm", "recent_tokens=\u202e5", "recent_tokens", "recent_tokens must be 1 to 1000000, got \"?5\".")]
    [InlineData("streaming-llm", "recent_tokens=auto", "recent_tokens", "recent_tokens must be 1 to 1000000, got \"auto\".")]
    [InlineData("sim-layer-kv", "lazy_threshold=3", "lazy_threshold", "lazy_threshold must be -1 to 2 or auto, got \"3\".")]
    [InlineData("sim-layer-kv", "lazy_threshold=NaN", "lazy_threshold", "lazy_threshold must be -1 to 2 or auto, got \"NaN\".")]
    [InlineData("sim-layer-kv", "recent_tokens=20 observed_tokens=21", "observed_tokens", "observed_tokens must be at most recent_tokens (20), got 21.")]
    [InlineData("sim-layer-kv", "mode=lazy", "mode", "mode must be threshold or share, got \"lazy\".")]
    [InlineData("sim-layer-kv", "slide=1", "slide", "slide must be false or true, got \"1\".")]
    [InlineData("full", "recent_tokens=5", "recent_tokens", "full has no such option; known: key_bits, value_bits, residual_tokens.")]
    public void What_cannot_be_made_is_named_with_its_range(string policy, string values, string? option, string message)
    {
        KvPolicyException refusal = Assert.Throws<KvPolicyException>(() => Create(policy, values));
        Assert.Equal((option, message), (refusal.Option, refusal.Message));
    }

    [Theory]
    [InlineData("full", "", "")]
    [InlineData("streaming-llm", "", "sink_tokens=4,recent_tokens=1020")]
    [InlineData("streaming-llm", "sink_tokens=2", "sink_tokens=2,recent_tokens=1020")]
    [InlineData("sim-layer-kv", "lazy_threshold=auto recent_tokens=20",
        "mode=threshold,lazy_threshold=auto,full_share=0.5,sink_tokens=4,recent_tokens=20,observed_tokens=32,under_pressure=false,slide=true")]
    [InlineData("sim-layer-kv", "mode=share full_share=0.75",
        "mode=share,lazy_threshold=auto,full_share=0.75,sink_tokens=4,recent_tokens=1020,observed_tokens=32,under_pressure=false,slide=true")]
    public void Settings_spell_every_value(string policy, string values, string settings)
    {
        IKvPolicy made = Create(policy, values);
        Assert.StartsWith(settings, made.Settings, StringComparison.Ordinal);
        Assert.Equal(policy, made.Name);
    }

    [Theory]
    [InlineData("streaming-llm")]
    [InlineData("sim-layer-kv")]
    [InlineData("fast-gen")]
    public void Who_drops_tokens_refuses_layers_that_slide(string policy)
    {
        using var model = new TinyModel();
        Assert.Equal(2, Create(policy, "").Layout(model.Config with { Windows = [0, 256] }).OwnerLayers);
        CheckpointException refusal = Assert.Throws<CheckpointException>(() => Create(policy, "").Layout(model.Config with { Windows = [0, 255] }));
        Assert.Contains("layer 1", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(1, Create("full", "").Layout(model.Config with { Windows = [0, 255] }).Groups);
    }

    [Fact]
    public void Every_option_is_described_and_takes_its_default()
    {
        foreach (KvPolicyKind kind in KvPolicyRegistry.Names.Select(name => KvPolicyRegistry.Find(name)!))
        {
            Assert.NotEmpty(kind.Meaning);
            Assert.Equal(kind.Options.Length, kind.Options.Select(option => option.Name).Distinct().Count());
            foreach (KvPolicyOption option in kind.Options)
            {
                Assert.NotEmpty(option.Meaning);
                foreach (double value in (double[])[option.Default ?? option.Low, option.Low, option.High])
                    Assert.Equal(value, option.Parse(option.Format(value)));
            }
        }
    }

    private static IKvPolicy Create(string policy, string values) => KvPolicyRegistry.Create(policy,
        values.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(value => value.Split('=')).ToDictionary(value => value[0], value => value[1]));
}
