using System.CommandLine;
using System.Diagnostics;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Policies;

/// <summary><c>throughput</c>: requests in flight and tokens a second of each policy, at a pool of the same number of bytes.</summary>
internal static class ThroughputCommand
{
    public static Command Create()
    {
        var common = new PolicyOptions();
        var pool = new Option<double>("--pool-sequences") { Description = "Pool bytes, in sequences of full length under the baseline.", DefaultValueFactory = _ => 6 };
        var poolBytes = new Option<long?>("--pool-bytes") { Description = "Pool bytes; instead of --pool-sequences, to hold two checkpoints against each other." };
        var requests = new Option<int>("--requests") { Description = "Requests, all sent at once.", DefaultValueFactory = _ => 64 };
        var generate = new Option<int>("--generate") { Description = "Tokens to generate a request.", DefaultValueFactory = _ => 256 };
        var rounds = new Option<int>("--rounds") { Description = "Rounds over all policies; medians are reported.", DefaultValueFactory = _ => 3 };
        Command command = common.Command("throughput", "Requests in flight and tokens/s of each KV policy at equal pool bytes.", pool, poolBytes, requests, generate, rounds);
        command.SetAction(async (parsed, cancellation) =>
        {
            int prompt = parsed.GetValue(common.Context), generated = parsed.GetValue(generate), count = parsed.GetValue(requests);
            using PolicyModel model = common.Open(parsed, prompt + generated + 1);
            int[] prose = model.Prose(parsed.GetValue(common.Text), 8 * prompt);
            List<int[]> prompts = Prompts(prose, prompt, count);
            IReadOnlyList<PolicySetting> settings = common.Settings(parsed, model);
            long bytes = parsed.GetValue(poolBytes)
                ?? await PoolBytesAsync(model, settings[0], parsed.GetValue(common.KvType), prompt + generated, parsed.GetValue(pool));

            Measured[] all = [.. settings.Select(setting => new Measured(setting))];
            for (int round = 0; round < parsed.GetValue(rounds); round++)
            {
                foreach (Measured one in all)
                {
                    await using PolicyEngine engine = PolicyEngine.Open(model, one.Setting, bytes, parsed.GetValue(common.KvType));
                    await MeasureAsync(engine, prompts, generated, one, cancellation);
                }
            }

            ResultFile.Publish(
                $"throughput {model.Name}, pool of {bytes:N0} bytes, {count} requests of {prompt} + {generated} tokens at once",
                Table(all), parsed.GetValue(common.Out));
            if (parsed.GetValue(common.Plot) is string prefix)
                Plot(all, prefix);
        });
        return command;
    }

    private static List<int[]> Prompts(int[] prose, int length, int count)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(0, Math.Max(1, prose.Length - length))).Select(start => prose[start..Math.Min(prose.Length, start + length)])];
    }

    private static async Task<long> PoolBytesAsync(PolicyModel model, PolicySetting baseline, DType kvType, int tokens, double sequences)
    {
        await using PolicyEngine engine = PolicyEngine.Open(model, baseline, 64 << 20, kvType);
        return (long)(engine.FullBytes(tokens) * sequences);
    }

    private static async Task MeasureAsync(PolicyEngine engine, List<int[]> prompts, int generated, Measured measured, CancellationToken cancellation)
    {
        long began = Stopwatch.GetTimestamp();
        var sampling = new SamplingParams { Temperature = 0 };
        Task<List<GeneratedToken>>[] readers = [.. prompts.Select(prompt => PolicyEngine.ReadAsync(engine.Submit(prompt, generated, sampling), cancellation))];
        Task all = Task.WhenAll(readers);
        var running = new Distribution();
        int most = 0;
        while (await Task.WhenAny(all, Task.Delay(10, cancellation)) != all) // samples how many run, a hundred times a second
        {
            EngineStatistics now = engine.Engine.Statistics;
            // Only while somebody waits does the pool, and not the number of requests, decide how many run.
            if (now.Waiting > 0)
                running.Add(now.Running);
            most = Math.Max(most, now.Running);
        }

        await all;
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        measured.TokensPerSecond.Add(prompts.Count * (double)generated / seconds);
        measured.InFlight.Add(running.Count > 0 ? running.Mean : most);
        measured.MostInFlight.Add(most);
        measured.Preemptions.Add(engine.Engine.Statistics.Preemptions);
    }

    private static ResultTable Table(Measured[] all)
    {
        var table = new ResultTable("Policy", "In flight, mean while some wait", "of baseline", "most", "Generated tokens/s", "of baseline", "Preemptions");
        foreach (Measured one in all)
        {
            table.Add(
                one.Setting.Label, $"{one.InFlight.Median:F1}", $"{one.InFlight.Median / all[0].InFlight.Median:F2}×", $"{one.MostInFlight.Median:F0}",
                $"{one.TokensPerSecond.Median:F0}", $"{one.TokensPerSecond.Median / all[0].TokensPerSecond.Median:F2}×", $"{one.Preemptions.Median:F0}");
        }

        return table;
    }

    private static void Plot(Measured[] all, string prefix)
    {
        var chart = new LineChart("Equal pool bytes: tokens/s against requests in flight", "requests in flight", "generated tokens/s");
        foreach (Measured one in all)
            chart.Add(one.Setting.Label, [(one.InFlight.Median, one.TokensPerSecond.Median)], joined: false);
        chart.Save(prefix + "-throughput.svg");
    }

    private sealed record Measured(PolicySetting Setting)
    {
        public Distribution InFlight { get; } = new();

        public Distribution MostInFlight { get; } = new();

        public Distribution TokensPerSecond { get; } = new();

        public Distribution Preemptions { get; } = new();
    }
}
