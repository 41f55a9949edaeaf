using InferenceService.Compute.Tests;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Tests;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;
using Weather = InferenceService.Engine.Tests.BatchInvarianceTests.Weather;

namespace InferenceService.Cuda.Tests;

/// <summary>
/// The engine's storm on the device, with recorded steps: arrivals, cancellations, preemption and prefix hits change no token of what a
/// request says alone, bit for bit, because the backend is deterministic.
/// </summary>
[RequiresCuda]
public sealed class StormTests
{
    private static readonly int Requests = CudaUnderTest.IsReal ? 64 : 24;

    [ContractFact]
    public void A_storm_of_every_policy_changes_no_token() => Rage(KvGrouping.Head, null, 5, swapBytes: 10_000);

    [ContractFact]
    public void Nor_does_one_without_room_to_swap() => Rage(KvGrouping.Head, null, 16, swapBytes: 0);

    [ContractFact]
    public void Nor_does_one_over_caches_that_layers_share() => Rage(KvGrouping.Head, [0, 2, 2, 3], null, swapBytes: 1_000_000);

    private static void Rage(KvGrouping grouping, int[]? kvSources, int? chunk, long swapBytes)
    {
        var weather = new Weather();
        CudaBackend backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false, Deterministic = true });
        using var model = new TinyModel(grouping, eos: 7, kvSources: kvSources, backend: backend);
        var random = new Random(20261121);
        string[] labels = [.. PolicyCases.Labels];
        GenerationRequest[] requests = [.. BatchInvarianceTests.NewRequests(random, Requests)
            .Select(request => request with { KvPolicy = PolicyCases.Create(labels[random.Next(labels.Length)]) })];
        EngineRun.Output[][] alone = BatchInvarianceTests.RunAlone(
            model, requests, new FullKvPolicy(), EngineRun.Options(model) with { PrefixCaching = false, AsyncScheduling = false });
        EngineOptions options = BatchInvarianceTests.StormOptions(model, chunk) with { SwapBytes = swapBytes };
        BatchInvarianceTests.Storm(model, requests, alone, new FullKvPolicy(), options, random, weather);
        weather.AssertRough();
        Assert.True(backend.RecordedSteps > 0, "No step was recorded.");
        // Prompts of cyclic models are in nearly every step.
        Assert.True(weather.StepsAhead > 0 || kvSources is not null, "No step was called before the one before it had ended.");
    }
}
