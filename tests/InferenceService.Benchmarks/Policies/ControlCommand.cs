using System.CommandLine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Policies;

/// <summary>
/// <c>control</c>: what the policies' book-keeping costs. Time a step outside the model, and decode under the finest tables (a group
/// for every head) beside one table for all, when both read the same bytes.
/// </summary>
internal static class ControlCommand
{
    public static Command Create()
    {
        var common = new PolicyOptions();
        var sequences = new Option<int>("--sequences") { Description = "Sequences decoding at once.", DefaultValueFactory = _ => 64 };
        var generate = new Option<int>("--generate") { Description = "Tokens to generate a sequence.", DefaultValueFactory = _ => 64 };
        var rounds = new Option<int>("--rounds") { Description = "Rounds over all settings; medians are reported.", DefaultValueFactory = _ => 5 };
        Command command = common.Command("control", "Share of a decode step spent outside the model, and the cost of a table for every head.", sequences, generate, rounds);
        command.SetAction(async (parsed, cancellation) =>
        {
            int count = parsed.GetValue(sequences), generated = parsed.GetValue(generate), prompt = parsed.GetValue(common.Context);
            using PolicyModel model = common.Open(parsed, prompt + generated + 1);
            // fast-gen that recovers everything keeps all slots, so it reads what full reads, through a table for every head.
            PolicySetting[] settings = [.. common.Settings(parsed, model), PolicySetting.Parse("fast-gen:recovery_target=1,profile_tokens=1")];
            Measured[] all = [.. settings.Select(setting => new Measured(setting))];
            for (int round = 0; round < parsed.GetValue(rounds); round++)
                foreach (Measured one in all)
                    await MeasureAsync(model, one, parsed.GetValue(common.KvType), count, prompt, generated, cancellation);

            var table = new ResultTable("Policy", "Step, ms", "of baseline", "Outside the model, µs a step", "of the step");
            foreach (Measured one in all)
            {
                table.Add(
                    one.Setting.Label, $"{one.StepSeconds.Median * 1e3:F2}", $"{one.StepSeconds.Median / all[0].StepSeconds.Median:F2}×",
                    $"{one.HostSeconds.Median * 1e6:F0}", $"{one.HostSeconds.Median / one.StepSeconds.Median:P1}");
            }

            ResultFile.Publish(
                $"control {model.Name}, {count} sequences, {prompt} + {generated} tokens each",
                table, parsed.GetValue(common.Out));
        });
        return command;
    }

    private static async Task MeasureAsync(
        PolicyModel model, Measured measured, DType kvType, int count, int prompt, int generated, CancellationToken cancellation)
    {
        const long poolBytes = 1L << 30;
        await using PolicyEngine engine = PolicyEngine.Open(model, measured.Setting, poolBytes, kvType);
        var random = new Random(3);
        int vocabulary = model.Config.VocabularySize;
        Task<List<GeneratedToken>>[] readers = [.. Enumerable.Range(0, count).Select(_ =>
        {
            int[] ids = [.. Enumerable.Range(0, prompt).Select(_ => random.Next(vocabulary))];
            return PolicyEngine.ReadAsync(engine.Submit(ids, generated, new SamplingParams { Temperature = 0 }), cancellation);
        })];
        // Only steps in which every sequence decodes count: from the moment all have their first tokens until one ends.
        EngineStatistics from = default, to = default;
        bool together = false;
        while (!readers.Any(reader => reader.IsCompleted))
        {
            EngineStatistics now = engine.Engine.Statistics;
            if (!together && now.Running == count && now.GeneratedTokens >= 2L * count && now.Waiting == 0)
                (from, together) = (now, true);
            if (together && now.Running == count)
                to = now;
            await Task.Delay(1, cancellation); // samples counters that the engine keeps exactly; a later sample only moves the ends of the interval
        }

        await Task.WhenAll(readers);
        long steps = to.Steps - from.Steps;
        if (steps <= 0)
            throw new InvalidOperationException($"{measured.Setting.Label}: the {count} sequences never decoded together; the pool of {poolBytes:N0} bytes may be too small.");
        measured.StepSeconds.Add((to.StepSeconds - from.StepSeconds) / steps);
        measured.HostSeconds.Add((to.HostSeconds - from.HostSeconds) / steps);
    }

    private sealed record Measured(PolicySetting Setting)
    {
        public Distribution StepSeconds { get; } = new();

        public Distribution HostSeconds { get; } = new();
    }
}
