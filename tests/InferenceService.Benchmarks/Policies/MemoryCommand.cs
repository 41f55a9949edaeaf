using System.CommandLine;
using InferenceService.Benchmarks.Reports;
using InferenceService.Engine;
using InferenceService.Models;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Policies;

/// <summary><c>memory</c>: pool bytes that one sequence owns against its length, measured while it decodes.</summary>
internal static class MemoryCommand
{
    private const long PoolBytes = 512L << 20;
    private const int Generated = 32;

    public static Command Create()
    {
        var common = new PolicyOptions();
        var lengths = new Option<int[]>("--lengths")
        {
            Description = "Prompt lengths.",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => [128, 256, 512, 768, 1024, 1536, 1984],
        };
        Command command = common.Command("memory", "Pool bytes of one sequence against its length, for each KV policy.", lengths);
        command.SetAction(async (parsed, cancellation) =>
        {
            int[] asked = parsed.GetRequiredValue(lengths);
            using PolicyModel model = common.Open(parsed, asked.Max() + Generated);
            int[] prose = model.Prose(parsed.GetValue(common.Text), asked.Max());
            var table = new ResultTable(["Policy", .. asked.Select(length => $"{length} tokens"), "ratio at the longest", "by formula", "more, blocks a lane"]);
            var chart = new LineChart("Pool bytes of one sequence", "tokens", "bytes a token");
            double baseline = 0;
            foreach (PolicySetting setting in common.Settings(parsed, model))
            {
                await using PolicyEngine engine = PolicyEngine.Open(model, setting, PoolBytes, parsed.GetValue(common.KvType));
                var bytes = new List<long>();
                foreach (int length in asked)
                    bytes.Add(await MeasureAsync(engine, prose.AsMemory(0, Math.Min(length, prose.Length)), cancellation));
                baseline = baseline == 0 ? bytes[^1] : baseline;
                double? formula = KeptFormula.Bytes(setting, engine.Engine.Model.Layout, engine.Format, asked[^1] + Generated - 1);
                table.Add([setting.Label, .. bytes.Select(count => $"{count:N0}"), $"{baseline / bytes[^1]:F2}×", .. Against(formula, bytes[^1], engine)]);
                chart.Add(setting.Label, asked.Zip(bytes, (length, count) => ((double)length, (double)count / (length + Generated))));
            }

            ResultFile.Publish($"memory {model.Name}, bytes owned {Generated} tokens after the prompt", table, parsed.GetValue(common.Out));
            if (parsed.GetValue(common.Plot) is string prefix)
                chart.Save(prefix + "-memory.svg");
        });
        return command;
    }

    /// <summary>The formula's bytes, and how many blocks a lane holds beyond them: a window rarely begins where a block does.</summary>
    private static string[] Against(double? formula, long bytes, PolicyEngine engine)
    {
        if (formula is not double expected)
            return ["–", "–"];
        KvLayout layout = engine.Engine.Model.Layout;
        return [$"{expected:N0}", $"{(bytes - expected) / (layout.OwnerLayers * layout.KvHeads) / KeptFormula.Block(engine.Format):F2}"];
    }

    private static async Task<long> MeasureAsync(PolicyEngine engine, ReadOnlyMemory<int> prompt, CancellationToken cancellation)
    {
        GenerationStream stream = engine.Submit(prompt, Generated, new SamplingParams { Temperature = 0 });
        await PolicyEngine.ReadAsync(stream, cancellation);
        return stream.KvUsage.Bytes;
    }
}
