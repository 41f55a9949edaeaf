using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Admin;
using InferenceService.Server.Security;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace InferenceService.Server.Tests.Hosting.Admin;

/// <summary>Who reaches the admin routes, and from where.</summary>
public sealed class AdminPortTests
{
    private const string Admin = "sk-operator", Other = "sk-caller";

    [Fact]
    public async Task Every_admin_route_needs_a_key_with_the_scope()
    {
        await using TestServer server = await GuardedAsync();
        using HttpClient nobody = server.NewAdminClient(), stranger = server.NewAdminClient("sk-unknown"), caller = server.NewAdminClient(Other), admin = server.NewAdminClient(Admin);
        (string Method, string Path)[] routes = Routes(server.Service<AdminPort>().Endpoints);
        Assert.Equal(17, routes.Length);
        foreach ((string method, string path) in routes)
        {
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(nobody, method, path));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stranger, method, path));
            Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync(caller, method, path));
            Assert.False(await StatusAsync(admin, method, path) is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden, path);
        }

        Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(nobody, "GET", "/admin/nothing"));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync(caller, "GET", "/admin/nothing"));
        Assert.Equal(HttpStatusCode.NotFound, await StatusAsync(admin, "GET", "/admin/nothing"));
        Assert.Equal(HttpStatusCode.MethodNotAllowed, await StatusAsync(admin, "PATCH", "/admin/status"));
    }

    [Fact]
    public async Task No_admin_route_is_on_the_public_port_and_no_public_one_on_the_admin_port()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync("--admin-port", "0");
        using HttpClient admin = server.NewAdminClient();
        (string Method, string Path)[] inside = Routes(server.Service<AdminPort>().Endpoints), outside = Routes(server.Service<EndpointDataSource>().Endpoints);
        Assert.NotEmpty(inside);
        Assert.Empty(inside.Select(route => route.Path).Intersect(outside.Select(route => route.Path)));
        foreach ((string method, string path) in inside)
            Assert.Equal(HttpStatusCode.NotFound, await StatusAsync(server.Client, method, path));
        foreach ((string method, string path) in outside.Where(route => !route.Path.Contains('{', StringComparison.Ordinal)))
            Assert.Equal(HttpStatusCode.NotFound, await StatusAsync(admin, method, path));
        Assert.NotEqual(server.Address.Port, admin.BaseAddress!.Port);
    }

    [Fact]
    public async Task A_web_page_cannot_operate_the_server()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync("--admin-port", "0", "--allowed-origins", "https://chat.example.org");
        using HttpClient admin = server.NewAdminClient();
        foreach ((string header, string value) in ((string, string)[])
            [("Origin", "https://evil.example"), ("Origin", "null"), ("Origin", "https://chat.example.org"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-origin"), ("Host", "evil.example:9000")])
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/admin/drain");
            request.Headers.TryAddWithoutValidation(header, value);
            Assert.Equal(HttpStatusCode.Forbidden, (await admin.SendAsync(request)).StatusCode);
        }

        Assert.False(server.Service<ServerLifecycle>().IsDrained);
    }

    [Fact]
    public async Task Every_request_to_the_admin_port_is_one_line_of_the_log()
    {
        await using TestServer server = await GuardedAsync();
        using var log = new LinesOfLog();
        server.Service<ILoggerFactory>().AddProvider(log);
        using HttpClient nobody = server.NewAdminClient(), admin = server.NewAdminClient(Admin);
        const string category = AdminAudit.Category;
        // A line is written behind its answer: each is waited for, so that they come in order.
        Task WrittenAsync(int count) => Eventually.TrueAsync(() => log.Lines.Count(line => line.StartsWith(category, StringComparison.Ordinal)) == count);
        await StatusAsync(nobody, "POST", "/admin/drain");
        await WrittenAsync(1);
        await StatusAsync(admin, "POST", "/admin/drain");
        await WrittenAsync(2);
        await StatusAsync(admin, "DELETE", "/admin/requests/x%0d%0aforged%20line%E2%80%A8");
        await WrittenAsync(3);
        // Turned down, it still speaks.
        using StringContent off = new("""{"level":"None"}""", System.Text.Encoding.UTF8, "application/json");
        await admin.PutAsync(new Uri("/admin/log-level", UriKind.Relative), off);
        await WrittenAsync(4);
        await StatusAsync(admin, "POST", "/admin/resume");
        await WrittenAsync(5);
        string[] lines = [.. log.Lines.Where(line => line.StartsWith(category, StringComparison.Ordinal)).Select(line => line[(category.Length + 1)..])];
        Assert.Matches("^Warning POST /admin/drain by nobody from 127.0.0.1: 401, request req_[0-9a-f]{32}$", lines[0]);
        Assert.Matches("^Information POST /admin/drain \\(out of service, 0 requests under way\\) by key-1 from 127.0.0.1: 200, request req_[0-9a-f]{32}$", lines[1]);
        Assert.Matches("^Information DELETE /admin/requests/x\\?\\?forged line\\? by key-1 from 127.0.0.1: 404, request req_[0-9a-f]{32}$", lines[2]);
        Assert.StartsWith("Information PUT /admin/log-level (Default to None) by key-1 ", lines[3], StringComparison.Ordinal);
        Assert.StartsWith("Information POST /admin/resume (in service again) by key-1 ", lines[4], StringComparison.Ordinal);
        Assert.DoesNotContain(log.Lines, line => line.Contains(Admin, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_request_that_the_server_fails_to_handle_is_not_logged_as_a_success()
    {
        using var log = new LinesOfLog();
        using var logs = new LoggerFactory([log]);
        var audit = new AdminAudit(_ => throw new InvalidOperationException("a bug"), logs);
        await Assert.ThrowsAsync<InvalidOperationException>(() => audit.InvokeAsync(new DefaultHttpContext { Request = { Method = "POST", Path = "/admin/drain" } }));
        Assert.Contains("POST /admin/drain by nobody from unknown: 500,", Assert.Single(log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_default_port_that_is_taken_is_a_warning_and_a_chosen_one_an_error()
    {
        TcpListener? holder = new(IPAddress.Loopback, 9000);
        try
        {
            holder.Start();
        }
        catch (SocketException)
        {
            // Somebody else holds it: just as well.
            holder = null;
        }

        (int code, string error) = await RunAsync("--model", "/no/such/model", "--port", "0");
        Assert.Equal(1, code);
        Assert.StartsWith("warning: this server has no admin routes: 127.0.0.1:9000 is already in use; choose another port with --admin-port (none = no admin routes).\n", error.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        (code, error) = await RunAsync("--model", "/no/such/model", "--port", "0", "--admin-port", "9000");
        Assert.Equal((1, "error: admin routes: 127.0.0.1:9000 is already in use; choose another port with --admin-port"), (code, error.Trim()));
        holder?.Stop();
    }

    [Theory]
    [InlineData("0.0.0.0", false, false)]
    [InlineData("0.0.0.0", true, true)]
    [InlineData("::", false, false)]
    [InlineData("127.0.0.1", false, true)]
    [InlineData("localhost", false, true)]
    public void An_address_that_others_reach_needs_a_key(string host, bool hasKey, bool starts)
    {
        var keys = ApiKeys.From(new AuthOptions { Keys = hasKey ? [new KeyOptions { Value = "k", Scopes = ["admin"] }] : [] });
        var options = new HttpOptions { AdminHost = host, AdminPort = "0" };
        if (starts)
            Assert.NotNull(AdminAddress.From(options, keys).At);
        else
            Assert.Contains("--admin-host: " + host, Assert.Throws<InvalidDataException>(() => AdminAddress.From(options, keys)).Message, StringComparison.Ordinal);
        Assert.Null(AdminAddress.From(options with { AdminPort = "none" }, keys).At);
    }

    [Theory]
    [InlineData("70000")]
    [InlineData("-1")]
    [InlineData("off")]
    public void What_is_no_port_is_refused(string port)
    {
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse([$"--admin-port={port}"]), environment, AppContext.BaseDirectory);
        Assert.Equal($"--admin-port: \"{port}\" is neither a port (0 to 65535) nor none", Assert.Single(reading.Problems));
    }

    [Fact]
    public async Task It_speaks_of_a_model_that_still_loads()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync("--admin-port", "0");
        using HttpClient admin = server.NewAdminClient();
        JsonElement status = JsonDocument.Parse(await admin.GetStringAsync(new Uri("/admin/status", UriKind.Relative))).RootElement;
        Assert.Equal("loading", status.GetProperty("state").GetString());
        Assert.Equal(0, status.GetProperty("models").GetArrayLength());
    }

    private static async Task<TestServer> GuardedAsync()
    {
        string file = Path.Combine(TinyModel.NewFolder(), "keys");
        await File.WriteAllTextAsync(file, $"{Admin} admin\n{Other} inference,metrics\n");
        return await TestServer.StartAsync("--api-key-file", file, "--admin-port", "0", "Server:DrainDelay=0");
    }

    private static (string Method, string Path)[] Routes(IEnumerable<Microsoft.AspNetCore.Http.Endpoint> endpoints) =>
    [
        .. from endpoint in endpoints.OfType<RouteEndpoint>()
           from method in endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"]
           select (method, "/" + endpoint.RoutePattern.RawText!.TrimStart('/').Replace("{id}", "x", StringComparison.Ordinal).Replace("{**rest}", "tiny/kv-policy", StringComparison.Ordinal).Replace("{**id}", "x", StringComparison.Ordinal)),
    ];

    private static async Task<HttpStatusCode> StatusAsync(HttpClient client, string method, string path)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        using HttpResponseMessage answer = await client.SendAsync(request);
        return answer.StatusCode;
    }

    private static async Task<(int Code, string Error)> RunAsync(params string[] args)
    {
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse(args), environment, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        using var error = new StringWriter();
        await using WebApplication app = Program.Build(reading, environment, new StartupConsole(TextWriter.Null, error, interactive: false));
        int code = await app.Services.GetRequiredService<ServerRun>().ServeAsync(app);
        return (code, error.ToString());
    }
}
