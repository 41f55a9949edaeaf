using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Tests.Hosting;

/// <summary>Which processors the threads of a serving process may run on.</summary>
public sealed class KeepApartTests
{
    private static readonly Dictionary<string, string> Free = new() { ["INFERENCE__Cpu__KeepApart"] = "off" };
    private static readonly Dictionary<string, string> Apart = new() { ["INFERENCE__Cpu__KeepApart"] = "on" };

    [TwoProcessorsFact]
    public async Task The_engine_has_its_own_processor_and_HTTP_the_others()
    {
        (List<Seat> seats, string output, string error) = await ServeAsync(Apart, "--threads", "1");
        Seat engine = Assert.Single(seats, seat => seat.Name.StartsWith("engine", StringComparison.Ordinal));
        Assert.DoesNotContain('-', engine.Processors);
        Assert.DoesNotContain(',', engine.Processors);
        List<Seat> others = seats.FindAll(seat => seat != engine);
        Assert.True(others.Count > 5, "a server has more threads than that");
        Assert.Single(others.Select(seat => seat.Processors).Distinct());
        Assert.NotEqual(engine.Processors, others[0].Processors);
        Assert.Contains($"cpu, 1 threads on processors {engine.Processors} (all else on {others[0].Processors})", output, StringComparison.Ordinal);
        Assert.Equal("", error);
    }

    [TwoProcessorsFact]
    public async Task Turned_off_every_thread_may_run_everywhere()
    {
        (List<Seat> seats, string output, _) = await ServeAsync(Free, "--threads", "1");
        string all = File.ReadLines("/proc/self/status").First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim();
        Assert.All(seats, seat => Assert.Equal(all, seat.Processors));
        Assert.DoesNotContain("on processors", output, StringComparison.Ordinal);
    }

    [TwoProcessorsFact]
    public async Task Where_every_processor_computes_asking_for_it_warns()
    {
        (_, _, string error) = await ServeAsync(Apart, "--threads", $"{Environment.ProcessorCount}");
        Assert.Equal(
            $"warning: Cpu:KeepApart: on has no effect: {Environment.ProcessorCount} threads compute on all processors of this process; lower --threads to leave some.",
            error.Trim());
    }

    [Fact]
    public void Another_word_is_refused()
    {
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string> { ["INFERENCE__Cpu__KeepApart"] = "maybe" } };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse([]), environment, AppContext.BaseDirectory);
        Assert.Contains("auto, on, off", Assert.Single(reading.Problems), StringComparison.Ordinal);
    }

    /// <summary>Starts the server, asks it a few things at once, and looks at its threads while it serves.</summary>
    private static async Task<(List<Seat> Seats, string Output, string Error)> ServeAsync(Dictionary<string, string> variables, params string[] args)
    {
        string server = Path.Combine(AppContext.BaseDirectory, "InferenceService.Server.dll");
        var start = new ProcessStartInfo("dotnet", [server, "--model", TinyModel.Folder, "--port", "0", .. args])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["DOTNET_ENVIRONMENT"] = "Testing";
        start.Environment["INFERENCE__Server__DrainDelay"] = "0";
        start.Environment["INFERENCE__Server__AdminPort"] = "none";
        foreach ((string name, string value) in variables)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = "";
        string? address = null;
        while (address is null && await process.StandardOutput.ReadLineAsync() is { } line)
        {
            output += line + "\n";
            if (line.StartsWith("curl -N ", StringComparison.Ordinal))
                address = new Uri(line.Split(' ')[2]).GetLeftPart(UriPartial.Authority);
        }

        Assert.NotNull(address);
        using var client = new HttpClient { BaseAddress = new Uri(address) };
        object body = new { model = TinyModel.Name, prompt = "Once", max_tokens = 40, temperature = 0 };
        HttpResponseMessage[] answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => client.PostAsJsonAsync("/v1/completions", body)));
        Assert.All(answers, answer => Assert.Equal(HttpStatusCode.OK, answer.StatusCode));
        List<Seat> seats = SeatsOf(process.Id);
        using (Process kill = Process.Start("/bin/sh", ["-c", $"kill -TERM {process.Id}"]))
            await kill.WaitForExitAsync();
        output += await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (seats, output, string.Join('\n', (await error).Split('\n').Where(line => !line.StartsWith("info:", StringComparison.Ordinal))));
    }

    private static List<Seat> SeatsOf(int process)
    {
        var seats = new List<Seat>();
        foreach (string task in Directory.EnumerateDirectories($"/proc/{process}/task"))
        {
            try
            {
                string[] lines = File.ReadAllLines(Path.Combine(task, "status"));
                seats.Add(new Seat(Field(lines, "Name:"), Field(lines, "Cpus_allowed_list:")));
            }
            catch (IOException)
            {
                // The thread has ended between listing and reading.
            }
        }

        return seats;
    }

    private static string Field(string[] lines, string key) => Array.Find(lines, line => line.StartsWith(key, StringComparison.Ordinal))![key.Length..].Trim();

    private sealed record Seat(string Name, string Processors);

    /// <summary>Skipped, visibly, where there is one processor, or no Linux.</summary>
    [AttributeUsage(AttributeTargets.Method)]
    private sealed class TwoProcessorsFactAttribute : FactAttribute
    {
        public TwoProcessorsFactAttribute() => Skip = !OperatingSystem.IsLinux() ? "threads are placed on Linux alone"
            : Environment.ProcessorCount < 2 ? "this process has one processor: there is nothing to keep apart" : null;
    }
}
