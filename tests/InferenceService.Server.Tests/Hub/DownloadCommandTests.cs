using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hub;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceService.Server.Tests.Hub;

public sealed class DownloadCommandTests : IAsyncLifetime
{
    private const string Weights = "model.safetensors";
    private readonly string _cache = Path.Combine(TinyModel.NewFolder(), "hub");
    private HubServer _hub = null!;

    public async Task InitializeAsync() => _hub = await HubServer.StartAsync();

    public async Task DisposeAsync() => await _hub.DisposeAsync();

    [Fact]
    public async Task It_downloads_checks_every_file_and_ends_with_code_0()
    {
        (int? code, string output, string error) = await RunAsync([]);
        Assert.Equal((0, ""), (code, error));
        string weights = HubServer.ChecksumOf(Weights, _hub.Files[Weights]);
        Assert.Matches($@"(?m)^{weights} +{_hub.Files[Weights].Length}  model\.safetensors\r?$", output);
        Assert.Matches($@"(?m)^{HubServer.ChecksumOf("config.json", _hub.Files["config.json"])} +\d+  config\.json\r?$", output);
        Assert.EndsWith($"org/tiny is complete in {_cache}/models--org--tiny/snapshots/{HubServer.Commit}", output.TrimEnd(), StringComparison.Ordinal);
        _hub.Requests.Clear();
        (code, string again, _) = await RunAsync(["HF_HUB_OFFLINE=1"]);
        Assert.Equal(0, code);
        Assert.Contains(weights, again, StringComparison.Ordinal);
        Assert.Empty(_hub.Requests);
    }

    [Fact]
    public async Task A_file_that_was_damaged_meanwhile_is_downloaded_again()
    {
        await RunAsync([]);
        string blob = Path.Combine(_cache, "models--org--tiny", "blobs", HubServer.ChecksumOf(Weights, _hub.Files[Weights]));
        byte[] damaged = File.ReadAllBytes(blob);
        damaged[1000] ^= 1;
        File.WriteAllBytes(blob, damaged);
        (int? code, _, string error) = await RunAsync(["HF_HUB_OFFLINE=1"]);
        Assert.Equal(1, code);
        Assert.StartsWith("error: --model: model.safetensors of \"org/tiny\" is damaged in the local cache, and --offline", error, StringComparison.Ordinal);
        (code, _, error) = await RunAsync([]);
        Assert.Equal(0, code);
        Assert.Matches(@"^warning: model\.safetensors of ""org/tiny"" is damaged in the local cache \([0-9a-f]{64}\) and is downloaded again\.\r?\n$", error);
        Assert.Equal(_hub.Files[Weights], File.ReadAllBytes(blob));
    }

    [Fact]
    public async Task Told_to_end_it_does_not_say_that_it_succeeded()
    {
        using var ending = new CancellationTokenSource();
        _hub.Fail(Weights, async (context, _) =>
        {
            await ending.CancelAsync();
            await Eventually.TrueAsync(() => context.RequestAborted.IsCancellationRequested);
        });
        (ConfigurationReading reading, ProcessEnvironment environment, _) = Read([]);
        using var error = new StringWriter();
        int code = await DownloadCommand.RunAsync(
            reading.Options.Models, HubSettings.From(reading.Options.Hub, environment), new StartupConsole(TextWriter.Null, error, interactive: false), TimeProvider.System, ending.Token);
        Assert.Equal(1, code);
        Assert.Equal("error: the download was interrupted; what is there is kept, and the next one continues it.", error.ToString().Trim());
    }

    [Fact]
    public async Task Without_an_id_there_is_nothing_to_download()
    {
        (int? code, _, string error) = await RunAsync(["INFERENCE__Models__0__Path=" + TinyModel.Folder]);
        Assert.Equal(1, code);
        Assert.Equal("error: --download-only: no model is named by its id (--model org/name), so there is nothing to download.", error.Trim());
    }

    [Fact]
    public async Task A_server_that_is_told_to_end_while_it_downloads_ends_with_code_0_and_keeps_what_is_there()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        string partial = Path.Combine(_cache, "models--org--tiny", "blobs", HubServer.ChecksumOf(Weights, _hub.Files[Weights]) + HubCache.PartialEnding);
        _hub.Fail(Weights, async (context, contents) =>
        {
            await context.Response.Body.WriteAsync(contents.AsMemory(0, 30_000));
            await context.Response.Body.FlushAsync();
            await Eventually.TrueAsync(() => new FileInfo(partial) is { Exists: true, Length: 30_000 });
            asked.SetResult();
            await Eventually.TrueAsync(() => context.RequestAborted.IsCancellationRequested);
        });
        (ConfigurationReading reading, ProcessEnvironment environment, _) = Read([], "--port", "0", "--threads", "1");
        await using WebApplication app = Program.Build(reading, environment, new StartupConsole(TextWriter.Null, TextWriter.Null, interactive: false));
        Task<int> run = app.Services.GetRequiredService<ServerRun>().ServeAsync(app);
        await asked.Task;
        await ((DrainingLifetime)app.Services.GetRequiredService<Microsoft.Extensions.Hosting.IHostLifetime>()).EndAsync(TimeSpan.FromMinutes(5));
        Assert.Equal(0, await run);
        Assert.Equal(30_000, new FileInfo(partial).Length);
    }

    private async Task<(int? Code, string Output, string Error)> RunAsync(string[] variables)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        (ConfigurationReading reading, ProcessEnvironment environment, CommandLine commandLine) = Read(variables, "--download-only");
        int? code = await OneShot.RunAsync(commandLine, reading, environment, new StartupConsole(output, error, interactive: false));
        return (code, output.ToString(), error.ToString());
    }

    private (ConfigurationReading, ProcessEnvironment, CommandLine) Read(string[] variables, params string[] flags)
    {
        var all = new Dictionary<string, string> { ["HF_ENDPOINT"] = _hub.Endpoint, ["HF_HUB_CACHE"] = _cache, ["INFERENCE__Models__0__Path"] = "org/tiny" };
        foreach (string[] pair in variables.Select(variable => variable.Split('=', 2)))
            all[pair[0]] = pair[1];
        var environment = new ProcessEnvironment { Variables = all };
        CommandLine commandLine = CommandLine.Parse(flags);
        ConfigurationReading reading = ConfigurationReading.Read(commandLine, environment, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        return (reading, environment, commandLine);
    }
}
