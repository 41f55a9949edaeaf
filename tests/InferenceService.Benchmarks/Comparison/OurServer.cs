using System.CommandLine;
using System.Globalization;
using InferenceService.Compute;

namespace InferenceService.Benchmarks.Comparison;

/// <summary>Starts our own server for a comparison: same threads, a batch as large as the peer's slots, no prefix cache.</summary>
internal static class OurServer
{
    private const string BuiltHere = "src/InferenceService.Server/bin/Release/net10.0/InferenceService.Server.dll";

    /// <summary>Starts it on loopback and waits until it is ready.</summary>
    /// <exception cref="InvalidOperationException">There is no server to run, or it ended before it was ready.</exception>
    public static Task<ServerProcess> StartAsync(ParseResult parsed, CompareOptions options, string name, int streams, int length, CancellationToken cancellation)
    {
        string server = parsed.GetValue(options.Server) ?? Find();
        int port = ServerProcess.FreePort();
        string[] weights = options.Engine.Format(parsed) switch
        {
            WeightFormat.BF16 => ["--dtype", "bfloat16"],
            WeightFormat.Int8 => ["--quantization", "int8"],
            WeightFormat.Int4 => ["--quantization", "int4"],
            _ => [],
        };
        string[] arguments =
        [
            "--model", parsed.GetRequiredValue(options.Model), "--served-model-name", name, "--host", "127.0.0.1", "--port", Text(port),
            "--threads", Text(parsed.GetValue(options.Engine.Threads)), "--max-num-seqs", Text(streams), "--max-model-len", Text(length),
            "--no-enable-prefix-caching", "--cpu-kernels", parsed.GetRequiredValue(options.Engine.Kernels), .. weights,
        ];
        bool isLibrary = server.EndsWith(".dll", StringComparison.OrdinalIgnoreCase);
        return ServerProcess.StartAsync(isLibrary ? "dotnet" : server, isLibrary ? [server, .. arguments] : arguments, port, "/ready", cancellation);
    }

    private static string Find()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, BuiltHere)))
                return Path.Combine(folder, BuiltHere);
        }

        throw new InvalidOperationException($"--server: {BuiltHere} does not exist; build it with -c Release, or name another.");
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
