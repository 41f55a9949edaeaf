using System.CommandLine;
using System.Diagnostics;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Reports;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Models;

namespace InferenceService.Benchmarks.Policies;

/// <summary><c>stream</c>: one sequence decoded for so long that memory and time a token either stay flat or do not.</summary>
internal static class StreamCommand
{
    private const int Parts = 10;

    public static Command Create()
    {
        var shape = new Option<string>("--shape") { Description = "Random weights.", DefaultValueFactory = _ => "tiny" };
        var policy = new Option<string>("--policy") { Description = "Setting, as in --policies of quality.", DefaultValueFactory = _ => "streaming-llm:sink_tokens=4,recent_tokens=1020" };
        var tokens = new Option<int>("--tokens") { Description = "Tokens to decode.", DefaultValueFactory = _ => 200_000 };
        Option<string?> output = ResultFile.OutOption();
        var command = new Command("stream", "Pool bytes and time a token over a very long generation.") { shape, policy, tokens, output };
        command.SetAction(async (parsed, cancellation) =>
        {
            int count = parsed.GetValue(tokens);
            PolicySetting setting = PolicySetting.Parse(parsed.GetRequiredValue(policy));
            ModelConfig config = BenchmarkShape.Config(parsed.GetRequiredValue(shape)) with { MaxPositions = count + 64 };
            using var backend = new CpuBackend(Environment.ProcessorCount);
            using var weights = new RandomWeights(config, seed: 1234, DType.BF16);
            IKvPolicy chosen = setting.Create();
            var options = new EngineOptions
            {
                MaxModelLength = count + 64,
                MaxNumSeqs = 1,
                BlockSize = 32,
                KvType = DType.BF16,
                KvPackedBits = setting.PackedBits,
                KvCacheBytes = 256L << 20,
                PrefixCaching = false,
                Seed = 1,
            };
            DecoderModel model = DecoderModel.Load(config, weights, backend, chosen.Layout(config), new DecoderLimits(options.MaxBatchTokens, 1));
            await using var engine = new InferenceEngine(model, chosen, options, TimeProvider.System);
            var table = new ResultTable("Tokens", "µs a token, mean of the part", "Blocks owned, most");
            GenerationStream stream = engine.Submit(new GenerationRequest
            {
                PromptTokens = Enumerable.Range(1, 8).ToArray(),
                MaxTokens = count,
                IgnoreEos = true,
                Sampling = new SamplingParams { Temperature = 0 },
            }).Stream ?? throw new InvalidOperationException("The engine refused the stream.");

            int seen = 0, most = 0;
            long began = Stopwatch.GetTimestamp();
            while (await stream.WaitToReadAsync(cancellation))
            {
                while (stream.TryRead(out GeneratedToken token))
                {
                    if (token.Finish == FinishReason.Error)
                        throw new InvalidOperationException(stream.Error);
                    most = Math.Max(most, engine.Statistics.BlocksUsed);
                    if (++seen % (count / Parts) != 0)
                        continue;
                    // Tokens arrive in bursts when the reader lags, so only a whole part has a time.
                    table.Add($"{seen:N0}", $"{Stopwatch.GetElapsedTime(began).TotalSeconds * 1e6 / (count / Parts):F0}", $"{most}");
                    (began, most) = (Stopwatch.GetTimestamp(), 0);
                }
            }

            ResultFile.Publish($"stream {parsed.GetRequiredValue(shape)}, {setting.Label}, {count:N0} tokens", table, parsed.GetValue(output));
        });
        return command;
    }
}
