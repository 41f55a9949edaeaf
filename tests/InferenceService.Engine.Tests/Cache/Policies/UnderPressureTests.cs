using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>A full pool: who may keeps less, before anybody is preempted.</summary>
public sealed class UnderPressureTests
{
    [Theory]
    [InlineData("sim-layer-kv", "lazy_threshold=2 sink_tokens=2 recent_tokens=6 observed_tokens=4", 128)]
    [InlineData("fast-gen", "recovery_target=1 profile_tokens=4 local_share=0.2 frequent_share=0.1", 128)]
    [InlineData("fast-gen", "recovery_target=0.7 profile_tokens=4 local_share=0.2 frequent_share=0.1", 104)]
    public void Less_is_kept_before_anybody_is_preempted(string policy, string values, int poolTokens)
    {
        (long preemptions, long evicted) = Run(policy, values + " under_pressure=true", poolTokens);
        (long preemptionsWithout, long evictedWithout) = Run(policy, values, poolTokens);
        Assert.Equal(0, preemptions);
        Assert.True(preemptionsWithout > 0, "Nothing was preempted.");
        Assert.True(evicted > evictedWithout, $"{evicted} tokens evicted, {evictedWithout} without pressure.");
    }

    [Fact]
    public void What_has_nothing_left_to_give_up_is_preempted()
    {
        using var model = new TinyModel(KvGrouping.Layer);
        IKvPolicy policy = Create("sim-layer-kv", "lazy_threshold=-1 recent_tokens=30 observed_tokens=4 under_pressure=true");
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 60) with { PrefixCaching = false }, policy);
        GenerationStream[] streams = [.. Enumerable.Range(0, 3).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(20, i), 25)))];
        run.Finish();
        Assert.All(streams, stream => Assert.Equal(25, EngineRun.Read(stream)[0].Tokens.Count));
        Assert.True(run.Engine.Statistics.Preemptions > 0);
        run.AssertNothingOwned();
    }

    private static (long Preemptions, long Evicted) Run(string policy, string values, int poolTokens)
    {
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: poolTokens) with { PrefixCaching = false }, Create(policy, values));
        GenerationStream[] streams = [.. Enumerable.Range(0, 3).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(32, i), 40)))];
        run.Finish();
        foreach (GenerationStream stream in streams)
            Assert.Equal(40, EngineRun.Read(stream)[0].Tokens.Count);
        run.AssertNothingOwned();
        return (run.Engine.Statistics.Preemptions, run.Engine.KvPolicies.Single(counters => counters.Name == policy).EvictedTokens);
    }

    private static IKvPolicy Create(string policy, string values) => KvPolicyRegistry.Create(policy,
        values.Split(' ').Select(value => value.Split('=')).ToDictionary(value => value[0], value => value[1]));
}
