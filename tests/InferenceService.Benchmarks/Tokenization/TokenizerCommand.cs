using System.CommandLine;
using System.Diagnostics;
using System.Text;
using InferenceService.Benchmarks.Reports;
using InferenceService.Text.Tokenization;

namespace InferenceService.Benchmarks.Tokenization;

/// <summary><c>tokenizer</c>: megabytes of text a second, in and out.</summary>
internal static class TokenizerCommand
{
    private const int Rounds = 7;

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Folder with tokenizer.json.", Required = true };
        var text = new Option<string>("--text") { Description = "UTF-8 text file, one document.", Required = true };
        var output = ResultFile.OutOption();
        var command = new Command("tokenizer", "Encodes and decodes a text; medians of seven rounds, one thread.") { model, text, output };
        command.SetAction(parsed =>
        {
            string folder = parsed.GetRequiredValue(model);
            string sample = File.ReadAllText(parsed.GetRequiredValue(text));
            Measure(folder, sample, parsed.GetValue(output));
        });
        return command;
    }

    private static void Measure(string folder, string sample, string? output)
    {
        long began = Stopwatch.GetTimestamp();
        Tokenizer tokenizer = Tokenizer.Load(folder);
        double loadSeconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        double megabytes = Encoding.UTF8.GetByteCount(sample) / 1e6;
        int[] ids = tokenizer.Encode(sample, addSpecialTokens: false);
        var encode = new Distribution();
        var decode = new Distribution();
        var stream = new Distribution();
        for (int round = 0; round < Rounds; round++)
        {
            encode.Add(Time(() => tokenizer.Encode(sample, addSpecialTokens: false)));
            decode.Add(Time(() => tokenizer.Decode(ids, skipSpecialTokens: false)));
            stream.Add(Time(() =>
            {
                Detokenizer detokenizer = tokenizer.NewDetokenizer(skipSpecialTokens: false);
                foreach (int id in ids)
                    detokenizer.Append(id);
                detokenizer.Flush();
            }));
        }

        var table = new ResultTable("Direction", "MB/s", "tokens/s");
        Add(table, "encode", encode, megabytes, ids.Length);
        Add(table, "decode", decode, megabytes, ids.Length);
        Add(table, "decode, streaming", stream, megabytes, ids.Length);
        table.Add("load", $"{loadSeconds * 1e3:F0} ms", "–");
        ResultFile.Publish($"tokenizer {Path.GetFileName(Path.TrimEndingDirectorySeparator(folder))}, {megabytes:F1} MB of text", table, output);
    }

    private static void Add(ResultTable table, string direction, Distribution seconds, double megabytes, int tokens) =>
        table.Add(direction, $"{megabytes / seconds.Median:F2}", $"{tokens / seconds.Median:F0}");

    private static double Time(Action action)
    {
        long began = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(began).TotalSeconds;
    }
}
