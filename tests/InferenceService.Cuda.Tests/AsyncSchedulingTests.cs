using InferenceService.Compute.Tests;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;
using InferenceService.Engine.Tests;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Cuda.Tests;

/// <summary>Steps that are called before the tokens of the one before them are known: what callers read is the same, bit for bit.</summary>
[RequiresCuda]
public sealed class AsyncSchedulingTests : IDisposable
{
    private readonly TinyModel _model = new(
        KvGrouping.Head, eos: 7, backend: CudaUnderTest.Backend(options => options with { CheckEachVerb = false, Deterministic = true }));

    public void Dispose() => _model.Dispose();

    [ContractFact]
    public void Tokens_ends_and_what_was_kept_are_those_of_steps_that_wait()
    {
        foreach (string label in PolicyCases.Labels)
        {
            ((List<int> Tokens, FinishReason Finish, KvUsage Held)[] waited, long none, _) = Run(label, asynchronous: false);
            ((List<int>, FinishReason, KvUsage)[] ahead, long some, _) = Run(label, asynchronous: true);
            Assert.Equal(waited, ahead, (one, other) => one.Item1.SequenceEqual(other.Item1) && one.Item2 == other.Item2 && Holds(one.Item2, one.Item3, other.Item3));
            Assert.Equal(0, none);
            Assert.True(some > 0 || label.Contains("heads", StringComparison.Ordinal), $"{label}: no step was called ahead."); // fast-gen: heads that rank look at sums
            Assert.Contains(waited, said => said.Finish is FinishReason.Eos or FinishReason.StopToken);
            Assert.Contains(waited, said => said.Finish == FinishReason.Length);
        }
    }

    [ContractFact]
    public void All_steps_of_a_steady_decode_but_the_first_are_called_ahead()
    {
        using var run = new EngineRun(_model, EngineRun.Options(_model));
        for (int i = 0; i < 3; i++)
            run.Submit(EngineRun.Request(EngineRun.Prompt(9, i), 40) with { IgnoreEos = true });
        run.Finish();
        Assert.Equal(39, run.Engine.Loop.StepsAhead); // the first sampled the first tokens
        run.AssertNothingOwned();
    }

    [ContractFact]
    public void Whoever_cancels_while_a_step_is_underway_gets_one_end_and_leaves_nothing_behind()
    {
        using var run = new EngineRun(_model, EngineRun.Options(_model));
        GenerationStream[] streams = [.. Enumerable.Range(0, 3).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(9, i), 40) with { IgnoreEos = true }))];
        for (int step = 0; step < 6; step++)
            run.Engine.Loop.Step();
        Assert.True(run.Engine.Loop.StepsAhead > 0);
        streams[1].Cancel();
        run.Finish();
        EngineRun.Output[] said = [.. streams.Select(stream => EngineRun.Read(stream)[0])]; // refuses anything behind an end
        Assert.Equal([FinishReason.Length, FinishReason.Cancelled, FinishReason.Length], said.Select(one => one.Finish));
        Assert.InRange(said[1].Tokens.Count, 1, 6);
        run.AssertNothingOwned();
    }

    [ContractFact]
    public void Those_who_go_on_say_the_same_whoever_cancels_while_a_step_is_underway()
    {
        for (int cancelled = 0; cancelled < 3; cancelled++)
        {
            using var run = new EngineRun(_model, EngineRun.Options(_model));
            GenerationStream[] streams = [.. Enumerable.Range(0, 3).Select(Submit)];
            for (int step = 0; step < 6; step++)
                run.Engine.Loop.Step();
            streams[cancelled].Cancel();
            run.Finish();
            for (int i = 0; i < 3; i++)
            {
                using var alone = new EngineRun(_model, EngineRun.Options(_model) with { AsyncScheduling = false });
                GenerationStream undisturbed = alone.Submit(Request(i));
                alone.Finish();
                List<int> said = EngineRun.Read(streams[i])[0].Tokens, wanted = EngineRun.Read(undisturbed)[0].Tokens;
                Assert.Equal(i == cancelled ? wanted[..said.Count] : wanted, said);
            }

            GenerationStream Submit(int i) => run.Submit(Request(i));
        }

        static GenerationRequest Request(int i) =>
            EngineRun.Request(EngineRun.Prompt(9, i), 40, new SamplingParams { Temperature = 1, Seed = i }) with { IgnoreEos = true };
    }

    [ContractFact]
    public void Nobody_is_charged_for_what_was_computed_behind_his_last_token()
    {
        using var run = new EngineRun(_model, EngineRun.Options(_model));
        var stream = (Generation)run.Submit(EngineRun.Request(EngineRun.Prompt(9, 1), 200, new SamplingParams { Temperature = 1, Seed = 3 }) with
        { IgnoreEos = true, StopTokenIds = [31, 36, 40, 41, 42] });
        run.Finish();
        Assert.Equal(FinishReason.StopToken, EngineRun.Read(stream)[0].Finish);
        Assert.True(run.Engine.Loop.StepsAhead > 0);
        Assert.Equal(9 + ClientShare.OutputCost * run.Engine.Statistics.GeneratedTokens, stream.Client.Served);
    }

    [ContractFact]
    public void Whoever_arrives_meanwhile_enters_with_the_next_step()
    {
        using var run = new EngineRun(_model, EngineRun.Options(_model));
        run.Submit(EngineRun.Request(EngineRun.Prompt(9, 1), 200) with { IgnoreEos = true });
        for (int step = 0; step < 6; step++)
            run.Engine.Loop.Step();
        GenerationStream late = run.Submit(EngineRun.Request(EngineRun.Prompt(9, 2), 1) with { IgnoreEos = true });
        run.Engine.Loop.Step();
        Assert.Equal(1 + 9, run.Engine.Loop.Clock.LastTokens);
        Assert.Equal((2, 0), (run.Engine.Statistics.Running, run.Engine.Statistics.Waiting)); // whoever watches sees it while its step is underway
        run.Engine.Loop.Step(); // its token is read when the step behind has been called
        Assert.Single(EngineRun.Read(late)[0].Tokens);
    }

    [ContractFact]
    public void Penalties_and_log_probabilities_make_steps_wait()
    {
        foreach (SamplingParams sampling in (SamplingParams[])[new() { FrequencyPenalty = 0.5f }, new() { TopLogprobs = 1 }])
        {
            using var run = new EngineRun(_model, EngineRun.Options(_model));
            run.Submit(EngineRun.Request(EngineRun.Prompt(9, 1), 20, sampling));
            run.Finish();
            Assert.Equal(0, run.Engine.Loop.StepsAhead);
        }
    }

    [ContractFact]
    public void Steady_steps_allocate_nothing()
    {
        using var run = new EngineRun(_model, EngineRun.Options(_model));
        run.AssertSteadyStepsAllocateNothing([.. Enumerable.Range(0, 3).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(9, i), 200) with { IgnoreEos = true }))]);
        Assert.True(run.Engine.Loop.StepsAhead > 150);
    }

    /// <summary>A policy that was asked before a stop was seen may have let one more token go.</summary>
    private static bool Holds(FinishReason finish, KvUsage waited, KvUsage ahead) =>
        finish == FinishReason.Length
            ? waited == ahead
            : ahead.LogicalTokens == waited.LogicalTokens && waited.KeptTokens - ahead.KeptTokens is 0 or 1 && ahead.Bytes <= waited.Bytes;

    private ((List<int> Tokens, FinishReason Finish, KvUsage Held)[] Said, long Ahead, long Steps) Run(string label, bool asynchronous)
    {
        using var run = new EngineRun(_model, EngineRun.Options(_model) with { AsyncScheduling = asynchronous });
        GenerationStream[] streams = [.. Enumerable.Range(0, 8).Select(i => run.Submit(EngineRun.Request(
            EngineRun.Prompt(20 + 3 * i, i), 6 + 5 * i, new SamplingParams { Temperature = i % 2, TopP = 0.95f, Seed = i }) with
        { KvPolicy = PolicyCases.Create(label), StopTokenIds = [31, 36], IgnoreEos = i % 3 == 0 }))];
        run.Finish();
        run.AssertNothingOwned();
        return (
            [.. streams.Select(stream => (EngineRun.Read(stream)[0], stream.KvUsage)).Select(one => (one.Item1.Tokens, one.Item1.Finish, one.KvUsage))],
            run.Engine.Loop.StepsAhead, run.Engine.Statistics.Steps);
    }
}
