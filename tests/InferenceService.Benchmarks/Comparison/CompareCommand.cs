using System.CommandLine;
using System.Globalization;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Load;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;

namespace InferenceService.Benchmarks.Comparison;

/// <summary><c>compare</c>: our engine, or our server, against a user's llama.cpp, in turn.</summary>
internal static class CompareCommand
{
    // llama.cpp pads a slot's context, and both sides count the first generated token differently.
    private const int SpareTokens = 64;

    public static Command Create()
    {
        var options = new CompareOptions();
        Command command = options.Command();
        command.SetAction(async (parsed, cancellation) =>
        {
            var peer = new LlamaCpp(
                parsed.GetRequiredValue(options.LlamaCpp), parsed.GetRequiredValue(options.Gguf), parsed.GetValue(options.Engine.Threads), parsed.GetRequiredValue(options.More));
            peer.Find(parsed.GetValue(options.Serve));
            using var model = new BenchmarkModel(parsed.GetRequiredValue(options.Model), "", DType.BF16);
            if (parsed.GetValue(options.Serve))
                await ServersAsync(options, parsed, peer, model, cancellation);
            else
                await EnginesAsync(options, parsed, peer, model, cancellation);
        });
        return command;
    }

    private static async Task EnginesAsync(CompareOptions options, ParseResult parsed, LlamaCpp peer, BenchmarkModel model, CancellationToken cancellation)
    {
        int prompt = parsed.GetValue(options.Prompt), generate = parsed.GetValue(options.Generate);
        var settings = new EngineSettings
        {
            Format = options.Engine.Format(parsed),
            Kernels = options.Engine.Family(parsed),
            Threads = parsed.GetValue(options.Engine.Threads),
            Sequences = 1,
            Length = Math.Max(prompt, generate) + 2,
        };
        await using LoadedEngine loaded = LoadedEngine.Open(model, settings);
        var run = new EngineRun(loaded);
        PairedRatio prefill = new(), decode = new();
        LlamaBenchReport? report = null;
        await run.PrefillAsync(prompt, cancellation);
        await run.DecodeAsync(1, 1, generate, cancellation);
        for (int round = 0; round < parsed.GetValue(options.Rounds); round++)
        {
            double prefillRate = await run.PrefillAsync(prompt, cancellation);
            // llama-bench generates from an empty cache, and so do we.
            double decodeRate = (await run.DecodeAsync(1, 1, generate, cancellation)).Rate;
            report = await peer.BenchAsync(prompt, generate, cancellation);
            prefill.Add(prefillRate, report.PrefillRate);
            decode.Add(decodeRate, report.DecodeRate);
        }

        var table = new ResultTable("Tokens/s", "Ours", "llama.cpp", "Ratio", "Smallest–largest");
        table.Add([$"prefill of {prompt}", .. prefill.Cells(rate => $"{rate:F1}")]);
        table.Add([$"decode of {generate}", .. decode.Cells(rate => $"{rate:F1}")]);
        ResultFile.Publish($"compare {Title(options, parsed, model, settings.Format)}, {loaded.Kernels} kernels, against {report!.Model} of llama.cpp {report.Build}", table, parsed.GetValue(options.Out));
    }

    private static async Task ServersAsync(CompareOptions options, ParseResult parsed, LlamaCpp peer, BenchmarkModel model, CancellationToken cancellation)
    {
        int streams = parsed.GetValue(options.Streams), length = options.Length(parsed) + SpareTokens;
        WeightFormat format = options.Engine.Format(parsed);
        Arrival[] arrivals = options.Arrivals(parsed);
        bool isTrace = parsed.GetValue(options.Trace) is not null;
        await using ServerProcess ours = await OurServer.StartAsync(parsed, options, model.Name, streams, length, cancellation);
        await using ServerProcess theirs = await peer.ServeAsync(streams, length, cancellation);
        using var ourSide = new ServedSide(ours.Address, model.Name, model.Config.VocabularySize, cachePrompt: null, isTrace ? null : streams);
        using var theirSide = new ServedSide(theirs.Address, model.Name, model.Config.VocabularySize, cachePrompt: false, isTrace ? null : streams);
        Arrival[] warmUp = Arrival.Uniform(streams, promptTokens: 32, outputTokens: 16, ratePerSecond: null, seed: 1);
        await ourSide.RunAsync(warmUp, 0, cancellation);
        await theirSide.RunAsync(warmUp, 0, cancellation);
        PairedRatio rate = new(), first50 = new(), first95 = new(), gap50 = new(), gap95 = new(), good = new();
        double firstBound = parsed.GetValue(options.FirstBound), gapBound = parsed.GetValue(options.GapBound);
        for (int round = 1; round <= parsed.GetValue(options.Rounds); round++)
        {
            ServedRound our = await ourSide.RunAsync(arrivals, round, cancellation), their = await theirSide.RunAsync(arrivals, round, cancellation);
            rate.Add(our.TokensPerSecond, their.TokensPerSecond);
            first50.Add(our.First.Median, their.First.Median);
            first95.Add(our.First.Percentile(95), their.First.Percentile(95));
            gap50.Add(our.Gap.Median, their.Gap.Median);
            gap95.Add(our.Gap.Percentile(95), their.Gap.Percentile(95));
            if (isTrace)
                good.Add(our.Goodput(firstBound, gapBound), Math.Max(their.Goodput(firstBound, gapBound), 0.5 / their.Seconds)); // none at all counts as half a request
        }

        var table = new ResultTable("Measure", "Ours", "llama-server", "Ratio", "Smallest–largest");
        table.Add(["generated tokens/s", .. rate.Cells(value => $"{value:F1}")]);
        table.Add(["time to first token, p50", .. first50.Cells(Milliseconds)]);
        table.Add(["time to first token, p95", .. first95.Cells(Milliseconds)]);
        table.Add(["time a token after it, p50", .. gap50.Cells(Milliseconds)]);
        table.Add(["time a token after it, p95", .. gap95.Cells(Milliseconds)]);
        if (isTrace)
            table.Add([$"requests/s within {firstBound} s and {gapBound} s a token", .. good.Cells(value => $"{value:F2}")]);
        string load = isTrace
            ? string.Create(CultureInfo.InvariantCulture, $"{arrivals.Length} requests of a trace at {parsed.GetValue(options.Speed)}× speed, {parsed.GetValue(options.Scale)}× length")
            : $"{streams} streams, {arrivals.Length} requests";
        ResultFile.Publish($"compare serving {Title(options, parsed, model, format)}, against {Path.GetFileName(parsed.GetRequiredValue(options.Gguf))}; {load}", table, parsed.GetValue(options.Out));
    }

    private static string Milliseconds(double seconds) => $"{seconds * 1e3:F1} ms";

    private static string Title(CompareOptions options, ParseResult parsed, BenchmarkModel model, WeightFormat format) =>
        $"{model.Name}, {EngineOptionSet.Word(format, model.Type)}, "
        + (parsed.GetValue(options.Trace) is null ? $"prompt {parsed.GetValue(options.Prompt)}, generate {parsed.GetValue(options.Generate)}, " : "")
        + $"{parsed.GetValue(options.Engine.Threads)} threads, {parsed.GetValue(options.Rounds)} rounds";
}
