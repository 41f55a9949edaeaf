using System.CommandLine;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Reports;
using InferenceService.Text.Tokenization;

namespace InferenceService.Benchmarks.Policies;

/// <summary><c>quality</c>: what each policy loses (perplexity, retrieval) and what it saves (bytes a sequence), beside the baseline.</summary>
internal static class QualityCommand
{
    private const long PoolBytes = 512L << 20;

    public static Command Create()
    {
        var common = new PolicyOptions();
        var continued = new Option<int>("--continue") { Description = "Tokens of each text that are scored after the prompt.", DefaultValueFactory = _ => 128 };
        var windows = new Option<int>("--windows") { Description = "Texts to score.", DefaultValueFactory = _ => 16 };
        var cases = new Option<string?>("--cases") { Description = "Retrieval cases (JSON lines of distance, prompt, answer; .gz allowed); pass keys in --text when absent." };
        var distances = new Option<int[]>("--distances")
        {
            Description = "Distances of the pass keys.",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => [64, 256, 512, 1024, 1536],
        };
        var each = new Option<int>("--each") { Description = "Pass keys a distance.", DefaultValueFactory = _ => 20 };
        var weights = new Option<string[]>("--weights")
        {
            Description = $"How matrices are held, the first being the baseline: {string.Join(", ", EngineOptionSet.FormatWords)}.",
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => ["auto"],
        };
        OptionRules.EachOneOf(weights, [.. EngineOptionSet.FormatWords]);
        Command command = common.Command("quality", "Perplexity, retrieval and bytes of each KV policy and weight format.", continued, windows, cases, distances, each, weights);
        command.SetAction(async (parsed, cancellation) =>
        {
            int context = parsed.GetValue(common.Context);
            using PolicyModel model = common.Open(parsed, context + 64);
            int[] prose = model.Prose(parsed.GetValue(common.Text), context * parsed.GetValue(windows));
            List<int[]> scored = ScoredText.Windows(prose, context, parsed.GetValue(windows));
            List<RetrievalCase> asked = model.Tokenizer is not Tokenizer tokenizer ? []
                : parsed.GetValue(cases) is string file ? RetrievalCase.Read(file, tokenizer)
                : RetrievalCase.PassKeys(tokenizer, prose, parsed.GetRequiredValue(distances), parsed.GetValue(each));

            var rows = new List<Row>();
            foreach (string word in parsed.GetRequiredValue(weights))
            {
                foreach (PolicySetting setting in common.Settings(parsed, model))
                {
                    await using PolicyEngine engine = PolicyEngine.Open(model, setting, PoolBytes, parsed.GetValue(common.KvType), EngineOptionSet.Format(word));
                    ScoredText.Score score = await ScoredText.MeasureAsync(engine, scored, parsed.GetValue(continued), cancellation);
                    rows.Add(new Row(setting, word, score, await RetrievalCase.MeasureAsync(engine, asked, cancellation)));
                }
            }

            string title = $"quality {model.Name}, {scored.Count} texts of {context} tokens, the last {parsed.GetValue(continued)} scored; "
                + $"{asked.Count} questions";
            ResultFile.Publish(title, Table(rows), parsed.GetValue(common.Out));
            if (parsed.GetValue(common.Plot) is string prefix)
                Plot(rows, prefix);
        });
        return command;
    }

    private static ResultTable Table(List<Row> rows)
    {
        int[] distances = [.. rows[0].Right.Keys];
        var table = new ResultTable([
            "Policy", "Perplexity", "change", "Bytes a sequence", "of baseline", "Slots kept", .. distances.Select(distance => $"right at {distance}")]);
        foreach (Row row in rows)
        {
            table.Add([
                row.Label, $"{row.Score.Perplexity:F3}", $"{row.Score.Perplexity / rows[0].Score.Perplexity - 1:+0.00 %;-0.00 %}",
                $"{row.Score.BytesPerSequence:F0}", $"{row.Score.BytesPerSequence / rows[0].Score.BytesPerSequence:P0}", $"{row.Score.KeptShare:P0}",
                .. distances.Select(distance => $"{row.Right[distance]:P0}")]);
        }

        return table;
    }

    private static void Plot(List<Row> rows, string prefix)
    {
        var loss = new LineChart("Perplexity against cache bytes", "bytes a sequence, % of baseline", "perplexity, % above baseline");
        var recall = new LineChart("Retrieval against cache bytes", "bytes a sequence, % of baseline", "right answers over all distances, %");
        foreach (IGrouping<string, Row> family in rows.GroupBy(row => row.Setting.Name + (row.Setting.PackedBits == 0 ? "" : $"+kv{row.Setting.PackedBits}") + row.Suffix))
        {
            Row[] ordered = [.. family.OrderBy(row => row.Score.BytesPerSequence)];
            double Share(Row row) => 100 * row.Score.BytesPerSequence / rows[0].Score.BytesPerSequence;
            loss.Add(family.Key, ordered.Select(row => (Share(row), 100 * (row.Score.Perplexity / rows[0].Score.Perplexity - 1))));
            recall.Add(family.Key, ordered.Select(row => (Share(row), 100 * row.Right.Values.DefaultIfEmpty(double.NaN).Average())));
        }

        loss.Save(prefix + "-perplexity.svg");
        recall.Save(prefix + "-retrieval.svg");
    }

    private sealed record Row(PolicySetting Setting, string Weights, ScoredText.Score Score, SortedDictionary<int, double> Right)
    {
        public string Suffix => Weights == "auto" ? "" : $", {Weights} weights";

        public string Label => Setting.Label + Suffix;
    }
}
