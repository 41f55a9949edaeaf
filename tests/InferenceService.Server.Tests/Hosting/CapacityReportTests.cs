using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using InferenceService.Engine;
using InferenceService.Engine.Faults;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

/// <summary>What the calculator prints, and the running engine beside it.</summary>
public sealed class CapacityReportTests
{
    private const int Fits = 4;
    private const int Length = 512, Prompt = 416;

    [Theory]
    [InlineData("full", "storyteller", true)]
    [InlineData("lckv", "lckv-storyteller", true)]
    [InlineData("streaming-llm", "storyteller", false)]
    [InlineData("sim-layer-kv", "storyteller", false)]
    [InlineData("fast-gen", "storyteller", false)]
    public async Task As_many_requests_as_the_calculator_says_run_at_once_in_the_embedded_model(string policy, string model, bool exactly)
    {
        string[] flags = ["--model", model, "--kv-policy", policy, "--no-enable-prefix-caching", "--max-model-len", $"{Length}", "--max-num-seqs", "16"];
        var variables = new Dictionary<string, string>();
        if (policy == "streaming-llm")
            variables["INFERENCE__Models__0__KvCache__PolicyOptions__recent_tokens"] = "60";

        // A pool with room for four at their largest, and for a little more.
        long one = BytesOfOne(await PlanAsync(variables, [.. flags, "--kv-cache-memory-bytes", "64M"]), policy);
        string bytes = ((Fits * one) + (one / 64)).ToString(CultureInfo.InvariantCulture);
        Assert.Equal(Fits, Fit(await PlanAsync(variables, [.. flags, "--kv-cache-memory-bytes", bytes]), policy));

        string[] settings = [.. variables.Select(pair => pair.Key[ConfigurationLayer.EnvironmentPrefix.Length..].Replace("__", ":", StringComparison.Ordinal) + "=" + pair.Value)];
        using var steps = new Witness();
        await using TestServer server = await TestServer.StartAsync(load: true, TimeProvider.System, steps, [.. flags, "--kv-cache-memory-bytes", bytes, .. settings]);
        InferenceEngine engine = server.Service<ModelCatalog>().Models[0].Engine;
        steps.Watch(engine);
        int all = exactly ? Fits + 1 : Fits;
        Task<HttpResponseMessage>[] requests = [.. Enumerable.Range(0, all).Select(i => SendAsync(server, i))];
        await Eventually.TrueAsync(() => server.Service<ActiveRequests>().All.Count() == all);
        steps.Dispose();
        foreach (Task<HttpResponseMessage> request in requests)
        {
            using HttpResponseMessage answer = await request;
            using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
            Assert.Equal(Length, body.RootElement.GetProperty("usage").GetProperty("total_tokens").GetInt32());
        }

        Assert.Equal(0, engine.Statistics.Preemptions);
        Assert.Equal(Fits, steps.Seen.Max(one => one.Running));
        Assert.Contains((Fits, exactly ? 1 : 0), steps.Seen);
    }

    [Fact]
    public async Task A_mix_is_the_mean_of_its_lengths()
    {
        string plan = await PlanAsync([], ["--model", TinyModel.Folder, "--kv-cache-memory-bytes", "1M", "--plan-capacity", "160:75,1600:25"]);
        // 256 blocks: 10 for 160 tokens, 100 for 1600, 32.5 in the mean.
        Assert.Contains("| full | 160 | 40 KiB | 25 | 16 |", plan, StringComparison.Ordinal);
        Assert.Contains("| full | 1600 | 400 KiB | 2 | 2 |", plan, StringComparison.Ordinal);
        Assert.Contains("| full | 160:75, 1600:25 | 130 KiB | 7 | 7 |", plan, StringComparison.Ordinal);
        Assert.Contains("| kv pool | 1 MiB | 256 blocks of 4 KiB: 4096 tokens of 256 bytes |", plan, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("x", 2, "error: --plan-capacity: \"x\" is not a length with its weight; write up to 64 such as 512:70,4k:30")]
    [InlineData("512:-1", 2, "error: --plan-capacity: \"512:-1\" is not a length with its weight; write up to 64 such as 512:70,4k:30")]
    [InlineData(",", 2, "error: --plan-capacity: names no length; write lengths with their weights such as 512:70,4k:30")]
    [InlineData("4k", 1, "error: --plan-capacity: 4000 tokens are more than the 2048 that a request of tiny may have.")]
    public async Task A_mix_that_cannot_be_is_one_line(string mix, int code, string message)
    {
        (int? ended, _, string error) = await RunAsync([], ["--model", TinyModel.Folder, "--plan-capacity", mix]);
        Assert.Equal((code, message), (ended, error.Trim()));
    }

    /// <summary>Holds the engine in its first step until everybody is there, and notes how many run and wait at the end of each.</summary>
    private sealed class Witness : IFaultInjection, IDisposable
    {
        private readonly ManualResetEventSlim _everybody = new();
        private InferenceEngine? _engine;

        /// <summary>After each step: read it when all requests have ended.</summary>
        public HashSet<(int Running, int Waiting)> Seen { get; } = [];

        public void Watch(InferenceEngine engine) => Volatile.Write(ref _engine, engine);

        public void At(FaultPoint point)
        {
            if (point != FaultPoint.Publish || Volatile.Read(ref _engine) is not { } engine)
                return;
            _everybody.Wait();
            Seen.Add((engine.Statistics.Running, engine.Statistics.Waiting));
        }

        public void Dispose() => _everybody.Set();
    }

    private static long BytesOfOne(string plan, string policy)
    {
        Match row = Regex.Match(plan, $@"\| {policy} \| {Length} \| ([0-9.]+) ([KM])iB \|");
        Assert.True(row.Success, plan);
        return (long)(double.Parse(row.Groups[1].Value, CultureInfo.InvariantCulture) * (row.Groups[2].Value == "K" ? 1 << 10 : 1 << 20));
    }

    private static int Fit(string plan, string policy) =>
        int.Parse(Regex.Match(plan, $@"\| {policy} \| {Length} \| [^|]+ \| (\d+) \|").Groups[1].Value, CultureInfo.InvariantCulture);

    private static async Task<HttpResponseMessage> SendAsync(TestServer server, int seed)
    {
        var random = new Random(seed);
        string prompt = string.Join(',', Enumerable.Range(0, Prompt).Select(_ => random.Next(300, 3000)));
        using var content = new StringContent($$"""{"prompt":[{{prompt}}],"max_tokens":{{Length - Prompt}},"ignore_eos":true,"temperature":0}""", System.Text.Encoding.UTF8, "application/json");
        return await server.Client.PostAsync(new Uri("/v1/completions", UriKind.Relative), content);
    }

    private static async Task<string> PlanAsync(Dictionary<string, string> variables, string[] flags)
    {
        string[] asked = flags.Contains("--plan-capacity") ? flags : [.. flags, "--plan-capacity"];
        (int? code, string output, string error) = await RunAsync(variables, asked);
        Assert.Equal((0, ""), (code, error));
        return output;
    }

    private static async Task<(int? Code, string Output, string Error)> RunAsync(Dictionary<string, string> variables, string[] flags)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var environment = new ProcessEnvironment { Variables = variables };
        CommandLine commandLine = CommandLine.Parse(flags);
        ConfigurationReading reading = ConfigurationReading.Read(commandLine, environment, AppContext.BaseDirectory);
        int? code = await OneShot.RunAsync(commandLine, reading, environment, new StartupConsole(output, error, interactive: false));
        return (code, output.ToString(), error.ToString());
    }
}
