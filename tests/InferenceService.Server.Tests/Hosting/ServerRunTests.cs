using System.Net;
using System.Net.Sockets;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceService.Server.Tests.Hosting;

public sealed class ServerRunTests
{
    [Fact]
    public async Task A_busy_port_is_one_line_and_code_1()
    {
        using var busy = new TcpListener(IPAddress.Loopback, 0);
        busy.Start();
        int port = ((IPEndPoint)busy.LocalEndpoint).Port;
        (int code, _, string error) = await RunAsync("--model", TinyModel.Folder, "--port", $"{port}");
        Assert.Equal(1, code);
        Assert.Equal($"error: 127.0.0.1:{port} is already in use; choose another port with --port", error.Trim());
    }

    [Fact]
    public async Task A_damaged_model_is_one_line_and_code_1()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        string weights = Path.Combine(folder, "model.safetensors");
        File.WriteAllBytes(weights, File.ReadAllBytes(weights)[..1000]);
        (int code, _, string error) = await RunAsync("--model", folder, "--port", "0");
        Assert.Equal(1, code);
        Assert.StartsWith("error: model.safetensors", error, StringComparison.Ordinal);
        Assert.Single(error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task An_open_server_that_others_can_reach_warns()
    {
        (int code, _, string error) = await RunAsync("--model", "/no/such/model", "--host", "0.0.0.0", "--port", "0");
        Assert.Equal(1, code);
        Assert.StartsWith("warning: no API key is set and other machines can reach this server", error, StringComparison.Ordinal);
        (_, _, string guarded) = await RunAsync("--model", "/no/such/model", "--host", "0.0.0.0", "--port", "0", "--api-key", "k");
        Assert.DoesNotContain("no API key", guarded, StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_loads_says_where_it_listens_and_ends_with_code_0_when_told_to()
    {
        var output = new AnnouncingWriter("curl -N ");
        ConfigurationReading reading = Read("--model", TinyModel.Folder, "--port", "0", "--threads", "1");
        await using WebApplication app = Program.Build(reading, NoVariables, new StartupConsole(output, TextWriter.Null, interactive: false));
        Task<int> run = app.Services.GetRequiredService<ServerRun>().ServeAsync(app);
        await output.Seen;
        var lifetime = (DrainingLifetime)app.Services.GetRequiredService<Microsoft.Extensions.Hosting.IHostLifetime>();
        using (var client = new HttpClient())
            Assert.Equal(HttpStatusCode.OK, (await client.GetAsync(new Uri(app.Urls.First() + "/ready"))).StatusCode);
        await lifetime.EndAsync(TimeSpan.Zero);
        Assert.Equal(0, await run);
    }

    [Fact]
    public async Task Told_to_end_before_it_listens_it_ends_with_code_0()
    {
        await using WebApplication app = Program.Build(Read("--model", TinyModel.Folder, "--port", "0"), NoVariables, new StartupConsole(TextWriter.Null, TextWriter.Null, interactive: false));
        await ((DrainingLifetime)app.Services.GetRequiredService<Microsoft.Extensions.Hosting.IHostLifetime>()).EndAsync(TimeSpan.Zero);
        Assert.Equal(0, await app.Services.GetRequiredService<ServerRun>().ServeAsync(app));
    }

    // Tests run side by side, and only one of them can have the default port.
    private static readonly ProcessEnvironment NoVariables = new() { Variables = new Dictionary<string, string> { ["INFERENCE__Server__AdminPort"] = "none" } };

    private static ConfigurationReading Read(params string[] args)
    {
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse(args), NoVariables, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        return reading;
    }

    private static async Task<(int Code, string Output, string Error)> RunAsync(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        await using WebApplication app = Program.Build(Read(args), NoVariables, new StartupConsole(output, error, interactive: false));
        int code = await app.Services.GetRequiredService<ServerRun>().ServeAsync(app);
        return (code, output.ToString(), error.ToString());
    }
}
