using InferenceService.Compute;
using InferenceService.Compute.Tests;

namespace InferenceService.Cuda.Tests;

/// <summary>The engine's decode steps, recorded once a size and repeated: padding and repetition change no bit.</summary>
[RequiresCuda]
public sealed class RecordedDecodeTests
{
    [ContractFact]
    public async Task Every_policy_gives_the_bits_of_steps_that_are_not_recorded()
    {
        foreach ((string policy, string values) in GenerationTests.Policies)
        {
            ((int, float)[][] called, int none) = await RunAsync(policy, values, recordSteps: false);
            ((int, float)[][] recorded, int steps) = await RunAsync(policy, values, recordSteps: true);
            Assert.Equal(called, recorded);
            Assert.Equal(0, none);
            Assert.True(steps >= 4, $"{policy}: only {steps} steps were recorded.");
        }
    }

    [ContractFact]
    public async Task Every_size_is_recorded_before_the_first_request_and_none_after() =>
        Assert.Equal(4, (await RunAsync("full", "", recordSteps: true)).Steps); // 1, 2, 4, and the 6 sequences that are the most

    private static async Task<((int Token, float Logprob)[][] Said, int Steps)> RunAsync(string policy, string values, bool recordSteps)
    {
        using CudaBackend backend = CudaUnderTest.Backend(options => options with { CheckEachVerb = false, Deterministic = true, RecordSteps = recordSteps });
        (int, float)[][] said = await GenerationTests.RunAsync(
            backend, GenerationTests.NewConfig(), GenerationTests.Create(policy, values), options => options with { MaxNumSeqs = 6 }, WeightFormat.Stored);
        return (said, backend.RecordedSteps);
    }
}
