using System.Diagnostics;
using System.Globalization;

namespace InferenceService.Benchmarks.Comparison;

/// <summary>A user's build of llama.cpp: its binaries and the model they run.</summary>
/// <param name="folder">Folder of the binaries, or the build folder whose <c>bin</c> holds them.</param>
/// <param name="model">GGUF file.</param>
/// <param name="threads">Threads for prompt and generation.</param>
/// <param name="more">Further arguments of its server.</param>
internal sealed class LlamaCpp(string folder, string model, int threads, IReadOnlyList<string> more)
{
    private const string Bench = "llama-bench", Server = "llama-server";

    /// <summary>Looks for the program that a comparison will need, before it takes its time.</summary>
    /// <param name="serves">The server, not the engine.</param>
    /// <exception cref="InvalidOperationException">It is not there.</exception>
    public void Find(bool serves) => _ = Binary(serves ? Server : Bench);

    /// <summary>Runs <c>llama-bench</c> once.</summary>
    /// <exception cref="InvalidOperationException">It cannot be run, or failed.</exception>
    /// <exception cref="FormatException">It printed something else.</exception>
    public async Task<LlamaBenchReport> BenchAsync(int prompt, int generate, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo(Binary(Bench),
            ["-m", model, "-p", Text(prompt), "-n", Text(generate), "-r", "1", "-t", Text(threads), "-o", "json"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"{start.FileName} did not start.");
        Task<string> errors = process.StandardError.ReadToEndAsync(cancellation);
        string output = await process.StandardOutput.ReadToEndAsync(cancellation);
        await process.WaitForExitAsync(cancellation);
        return process.ExitCode == 0
            ? LlamaBenchReport.Parse(output, prompt, generate)
            : throw new InvalidOperationException($"llama-bench ended with {process.ExitCode}: {LastLine(await errors)}");
    }

    /// <summary>Starts <c>llama-server</c> on loopback, a slot for every stream, and waits until it is ready.</summary>
    /// <param name="streams">Requests at once.</param>
    /// <param name="length">Tokens of a sequence, prompt and output.</param>
    /// <exception cref="InvalidOperationException">It cannot be run, or ended before it was ready.</exception>
    public Task<ServerProcess> ServeAsync(int streams, int length, CancellationToken cancellation)
    {
        int port = ServerProcess.FreePort();
        return ServerProcess.StartAsync(
            Binary(Server),
            [
                "-m", model, "--host", "127.0.0.1", "--port", Text(port), "-t", Text(threads), "-tb", Text(threads),
                "-np", Text(streams), "-c", Text(streams * length), .. more,
            ],
            port, "/health", cancellation);
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static string LastLine(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault("no message");

    private string Binary(string name)
    {
        string file = OperatingSystem.IsWindows() ? name + ".exe" : name;
        return File.Exists(Path.Combine(folder, file)) ? Path.Combine(folder, file)
            : File.Exists(Path.Combine(folder, "bin", file)) ? Path.Combine(folder, "bin", file)
            : throw new InvalidOperationException($"--llama-cpp: neither {folder} nor its bin folder has {name}.");
    }
}
