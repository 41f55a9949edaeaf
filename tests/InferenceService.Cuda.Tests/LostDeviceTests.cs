using System.Net;
using System.Text;
using System.Text.Json;
using InferenceService.Compute.Tests;
using InferenceService.Server;
using InferenceService.Server.Api.Health;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceService.Cuda.Tests;

/// <summary>A device that is not there, or that goes away: one line, a proper error for everybody, and an exit code of its own.</summary>
[RequiresEmulation]
public sealed class LostDeviceTests : IDisposable
{
    private readonly string _device = CudaUnderTest.Name; // builds the emulation

    public void Dispose() => Emulation.Heal();

    [ContractFact]
    public async Task No_GPU_is_one_line_with_name_call_and_advice_and_code_1()
    {
        Emulation.Fail("cuDeviceGetCount", 100);
        await using Run run = new("--device", "cuda");
        Assert.Equal(1, await run.Ended);
        Assert.Equal(
            "error: cuDeviceGetCount failed with CUDA_ERROR_NO_DEVICE (100). No GPU is visible: check the driver, and CUDA_VISIBLE_DEVICES or the container's --gpus.",
            run.Error.ToString().Trim());
        Assert.DoesNotContain("curl", run.Output.ToString(), StringComparison.Ordinal);
    }

    [ContractFact]
    public async Task Only_auto_takes_the_processor_instead_and_says_why()
    {
        Emulation.Fail("cuDeviceGetCount", 100);
        await using Run run = new("--device", "auto");
        await run.Listening;
        Assert.StartsWith("warning: --device auto takes the CPU: cuDeviceGetCount failed with CUDA_ERROR_NO_DEVICE (100). ", run.Error.ToString(), StringComparison.Ordinal);
        Assert.Matches("device +cpu, ", run.Output.ToString());
        await run.EndAsync();
        Assert.Equal(0, await run.Ended);
    }

    [ContractFact]
    public async Task Auto_takes_the_GPU_where_there_is_one()
    {
        await using Run run = new("--device", "auto");
        await run.Listening;
        Assert.Matches($"device +cuda:0 {_device}, ", run.Output.ToString());
        await run.EndAsync();
        Assert.Equal(0, await run.Ended);
    }

    [ContractFact]
    public async Task A_pool_that_the_GPU_cannot_hold_is_one_line_and_code_1()
    {
        await using Run run = new("--device", "cuda", "--kv-cache-memory-bytes", "1T");
        Assert.Equal(1, await run.Ended);
        string error = run.Error.ToString().Trim();
        Assert.StartsWith("error: tiny: the system refused memory for a KV pool of ", error, StringComparison.Ordinal);
        Assert.Contains("lower --kv-cache-memory-bytes, --gpu-memory-utilization", error, StringComparison.Ordinal);
        Assert.Matches("cuMemAlloc \\(\\d+ bytes\\) failed with CUDA_ERROR_OUT_OF_MEMORY \\(2\\)", error);
        Assert.DoesNotContain('\n', error);
    }

    [ContractFact]
    public async Task A_lost_device_fails_what_is_in_flight_turns_readiness_off_and_ends_the_process_with_code_70()
    {
        await using Run run = new("--device", "cuda");
        await run.Listening;
        using var client = new HttpClient { BaseAddress = run.Address };
        Task<HttpResponseMessage> whole = client.PostAsync(new Uri("/v1/completions", UriKind.Relative), Body(stream: false));
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri("/v1/completions", UriKind.Relative)) { Content = Body(stream: true) };
        using HttpResponseMessage streamed = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await streamed.Content.ReadAsStreamAsync());
        Assert.StartsWith("data: {", await reader.ReadLineAsync(), StringComparison.Ordinal); // it is under way
        await run.BothRunningAsync();
        Emulation.Fail("cuMemcpyHtoDAsync_v2", 719);

        using HttpResponseMessage failed = await whole;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, failed.StatusCode);
        Assert.Equal(["false"], failed.Headers.GetValues("x-should-retry"));
        AssertDead(await failed.Content.ReadAsStringAsync());
        AssertDead(await LastEventAsync(reader));
        Assert.Equal(70, await run.Ended);
        Assert.Equal("engine_dead", run.Health.Readiness?.Code);
        Assert.Equal("engine_dead", run.Health.Liveness?.Code);
        Assert.Matches("^error: the device is lost and the process ends: .*CUDA_ERROR_LAUNCH_FAILED \\(719\\).* must be restarted\\.\n$", run.Error.ToString());
    }

    // Long enough to be under way when the device goes.
    private const int Tokens = 2000;

    private static StringContent Body(bool stream) => new(
        $$"""{"model":"tiny","temperature":0,"max_tokens":{{Tokens}},"ignore_eos":true,"prompt":"Once","stream":{{(stream ? "true" : "false")}}}""", Encoding.UTF8, "application/json");

    private static void AssertDead(string json)
    {
        using JsonDocument answer = JsonDocument.Parse(json);
        JsonElement error = answer.RootElement.GetProperty("error");
        Assert.Equal(("server_error", "engine_dead"), (error.GetProperty("type").GetString(), error.GetProperty("code").GetString()));
    }

    /// <summary>The last event before the connection is cut, which it must be: no client may take the part for the whole.</summary>
    private static async Task<string> LastEventAsync(StreamReader reader)
    {
        string last = "";
        try
        {
            while (await reader.ReadLineAsync() is { } line)
                last = line.StartsWith("data: ", StringComparison.Ordinal) ? line["data: ".Length..] : last;
        }
        catch (Exception cut) when (cut is HttpIOException or IOException)
        {
            return last;
        }

        throw new InvalidOperationException("The stream ended as if it were complete.");
    }

    /// <summary>One life of the server in this process.</summary>
    private sealed class Run : IAsyncDisposable
    {
        private static readonly ProcessEnvironment Variables = new()
        {
            Variables = new Dictionary<string, string>
            {
                [ConfigurationLayer.EnvironmentPrefix + "Cuda__CubinCache"] = "none",
                [ConfigurationLayer.EnvironmentPrefix + "Cuda__LibraryPath__0"] = CudaUnderTest.EmulationFolder,
            },
        };

        private readonly WebApplication _app;
        private readonly TaskCompletionSource _listening = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Run(params string[] flags)
        {
            ConfigurationReading reading = ConfigurationReading.Read(
                CommandLine.Parse(["--model", Server.Tests.TinyModel.Folder, "--port", "0", "--admin-port", "none", "--threads", "1", "--max-num-seqs", "4", "--max-num-batched-tokens", "64", "--max-model-len", "2048", .. flags]), Variables, AppContext.BaseDirectory);
            Assert.Empty(reading.Problems);
            Output = new Announcer(_listening);
            _app = Program.Build(reading, Variables, new StartupConsole(Output, Error, interactive: false));
            Ended = _app.Services.GetRequiredService<ServerRun>().ServeAsync(_app);
        }

        public StringWriter Output { get; }

        public StringWriter Error { get; } = new();

        public Task<int> Ended { get; }

        /// <summary>Loaded, and ready for requests; fails when the server ends before.</summary>
        public Task Listening => Task.WhenAny(_listening.Task, Ended).ContinueWith(
            _ => Assert.True(_listening.Task.IsCompleted, Error.ToString()), TaskScheduler.Default);

        public Uri Address => new(_app.Urls.First());

        /// <summary>Two requests are in the batch.</summary>
        public async Task BothRunningAsync()
        {
            while (_app.Services.GetRequiredService<IModelCatalog>().Models[0].Engine.Statistics.Running != 2)
                await Task.Delay(1);
        }

        public HealthState Health => _app.Services.GetRequiredService<HealthState>();

        public Task EndAsync() =>
            ((DrainingLifetime)_app.Services.GetRequiredService<Microsoft.Extensions.Hosting.IHostLifetime>()).EndAsync(TimeSpan.Zero);

        public async ValueTask DisposeAsync()
        {
            await _app.DisposeAsync();
            await Output.DisposeAsync();
            await Error.DisposeAsync();
        }
    }

    private sealed class Announcer(TaskCompletionSource listening) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (value?.Contains("curl -N ", StringComparison.Ordinal) == true)
                listening.TrySetResult();
        }
    }
}
