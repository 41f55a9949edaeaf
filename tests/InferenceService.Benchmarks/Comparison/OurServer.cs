using System.CommandLine;
using System.Globalization;
using InferenceService.Compute;

namespace InferenceService.Benchmarks.Comparison;

/// <summary>Starts our own server for a comparison: same threads, a batch as large as the peer's slots, no prefix cache.</summary>
internal static class OurServer
{
    // What measures is built like what is measured: figures come from Release, tests run either.
#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif
    private const string BuiltHere = $"src/InferenceService.Server/bin/{Configuration}/net10.0/InferenceService.Server.dll";

    /// <summary>Starts it on loopback and waits until it is ready.</summary>
    /// <exception cref="InvalidOperationException">There is no server to run, or it ended before it was ready.</exception>
    public static Task<ServerProcess> StartAsync(ParseResult parsed, CompareOptions options, string name, int streams, int length, CancellationToken cancellation)
    {
        string[] weights = options.Engine.Format(parsed) switch
        {
            WeightFormat.BF16 => ["--dtype", "bfloat16"],
            WeightFormat.Int8 => ["--quantization", "int8"],
            WeightFormat.Int4 => ["--quantization", "int4"],
            _ => [],
        };
        string[] arguments =
        [
            "--model", parsed.GetRequiredValue(options.Model), "--served-model-name", name,
            "--threads", Text(parsed.GetValue(options.Engine.Threads)), "--max-num-seqs", Text(streams), "--max-model-len", Text(length),
            "--no-enable-prefix-caching", "--cpu-kernels", parsed.GetRequiredValue(options.Engine.Kernels), .. weights,
        ];
        return StartAsync(parsed.GetValue(options.Server), arguments, cancellation);
    }

    /// <summary>Starts it with these flags on a free port of loopback and waits until it is ready.</summary>
    /// <param name="server">The program, or its library; null = the build of this tree.</param>
    /// <exception cref="InvalidOperationException">There is no server to run, or it ended before it was ready.</exception>
    public static Task<ServerProcess> StartAsync(
        string? server, IReadOnlyList<string> flags, CancellationToken cancellation, IReadOnlyDictionary<string, string>? environment = null)
    {
        server ??= Find();
        int port = ServerProcess.FreePort();
        string[] arguments = [.. flags, "--host", "127.0.0.1", "--port", Text(port), "--admin-port", "none"];
        bool isLibrary = server.EndsWith(".dll", StringComparison.OrdinalIgnoreCase);
        return ServerProcess.StartAsync(
            isLibrary ? "dotnet" : server, isLibrary ? [server, .. arguments] : arguments, port, "/ready", cancellation, environment);
    }

    private static string Find()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, BuiltHere)))
                return Path.Combine(folder, BuiltHere);
        }

        throw new InvalidOperationException($"--server: {BuiltHere} does not exist; build it with -c {Configuration}, or name another.");
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
