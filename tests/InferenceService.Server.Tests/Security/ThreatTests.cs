using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Tests.Api;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace InferenceService.Server.Tests.Security;

/// <summary>One test for each class of attack that docs/security.md lists, named after it: the attack itself, on the real server. Attacks by request.</summary>
[Collection(ServerCollection.Name)]
public sealed partial class ThreatTests(ServerFixture fixture)
{
    private readonly TestServer _server = fixture.Server;

    [Fact]
    public async Task Unauthenticated_routes()
    {
        await using TestServer server = await TestServer.StartAsync("--api-key", "sk-real");
        // What a router and a guard may read differently; the last is how a peer's guard was fooled (CVE-2026-48746).
        string[] paths = ["/v1/models", "//v1/models", "/V1/MODELS", "/v1/models/", "/health/../v1/models", "/health/%2e%2e/v1/models", "/%76%31/models", "/v1/models?x=/health", "/v1/models;/health", "/models", "/tokenize", "/nothing", "/admin/status"];
        string[] headers = ["", "X-Original-URL: /health", "X-Rewrite-URL: /health", "X-Forwarded-Prefix: /health", "Authorization: Bearer", "Authorization: Bearer sk-real2"];
        foreach (string path in paths)
        {
            foreach (string header in headers)
                Assert.Contains(await StatusAsync(server, $"GET {path} HTTP/1.1\r\nHost: localhost\r\n{(header.Length > 0 ? header + "\r\n" : "")}Connection: close\r\n\r\n"), (int[])[401, 400]);
        }

        foreach (string host in (string[])["a/health?", "a/health#", "127.0.0.1@b", "a\t/health"])
            Assert.Contains(await StatusAsync(server, $"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"), (int[])[401, 400]);
        Assert.Equal(200, await StatusAsync(server, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-real\r\nConnection: close\r\n\r\n"));
    }

    [Fact]
    public void Key_guessing_by_time()
    {
        // Only digests are kept and compared, each over its whole length, and all of them whatever was found before.
        string source = File.ReadAllText(Path.Combine(ArchitectureTests.Root, "src/InferenceService.Server/Security/ApiKeys.cs"));
        string find = source[source.IndexOf(" Find(string? presented", StringComparison.Ordinal)..];
        find = find[..find.IndexOf("\n    }", StringComparison.Ordinal)];
        Assert.Contains("CryptographicOperations.FixedTimeEquals(", find, StringComparison.Ordinal);
        Assert.Contains("SHA256.HashData(", find, StringComparison.Ordinal);
        Assert.DoesNotContain("break;", find, StringComparison.Ordinal);
        Assert.Equal(1, find.Split("return ").Length - 1);
    }

    [Fact]
    public async Task Memory_by_numbers()
    {
        string[] bodies =
        [
            "\"prompt\":\"a\",\"n\":1000000000", "\"prompt\":\"a\",\"n\":9223372036854775807", "\"prompt\":\"a\",\"n\":1e300", "\"prompt\":\"a\",\"best_of\":1000000", "\"prompt\":\"a\",\"n\":-1",
            "\"prompt\":\"a\",\"max_tokens\":2147483647", "\"prompt\":\"a\",\"max_tokens\":-5", "\"prompt\":\"a\",\"logprobs\":1000000000", "\"prompt\":\"a\",\"prompt_logprobs\":-1", "\"prompt\":\"a\",\"min_tokens\":-3",
            $"\"prompt\":\"a\",\"logit_bias\":{{{string.Join(',', Enumerable.Range(0, 2000).Select(i => $"\"{i % 250}.{i}\":1"))}}}", "\"prompt\":\"a\",\"logit_bias\":{\"99999999999\":1}", "\"prompt\":\"a\",\"logit_bias\":{\"-1\":1}",
            $"\"prompt\":\"a\",\"stop\":[{string.Join(',', Enumerable.Repeat("\"x\"", 5000))}]", $"\"prompt\":[{string.Join(',', Enumerable.Repeat("\"a\"", 5000))}]", "\"prompt\":[-1]", "\"prompt\":[100000]", "\"prompt\":[]", "\"prompt\":[[]]",
            "\"prompt\":\"a\",\"truncate_prompt_tokens\":-7", "\"prompt\":\"a\",\"top_k\":99999999999999999999", $"\"prompt\":\"a\",\"bad_words\":[{string.Join(',', Enumerable.Repeat("\"x\"", 5000))}]", "\"prompt\":\"a\",\"stream_interval\":0",
        ];
        foreach (string body in bodies)
            await AssertRefusedAsync("/v1/completions", $"{{{body}}}");
    }

    [Fact]
    public async Task Large_and_deep_JSON()
    {
        await AssertRefusedAsync("/v1/completions", string.Concat(Enumerable.Repeat("{\"a\":", 100_000)));
        await AssertRefusedAsync("/v1/completions", $"{{\"prompt\":\"a\",\"x\":{new string('[', 1000)}{new string(']', 1000)}}}");
        await AssertRefusedAsync("/v1/completions", $"{{{string.Join(',', Enumerable.Range(0, 2000).Select(i => $"\"f{i}\":1"))}}}");
        await using TestServer small = await TestServer.StartWithoutModelAsync("Limits:MaxRequestBytes=2000");
        using HttpRequestMessage large = ApiClient.Request("/tokenize", $"{{\"prompt\":\"{new string('x', 3000)}\"}}");
        Assert.Contains((int)(await small.Client.SendAsync(large)).StatusCode, (int[])[413, 503]);
        foreach (string encoding in (string[])["gzip", "br", "deflate"])
        {
            using HttpRequestMessage bomb = ApiClient.Request("/v1/completions", "{}");
            bomb.Content!.Headers.ContentEncoding.Add(encoding);
            Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await _server.Client.SendAsync(bomb)).StatusCode);
        }
    }

    [Fact]
    public async Task Large_headers()
    {
        Assert.Equal(431, await StatusAsync(_server, $"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {new string('a', 33_000)}\r\n\r\n"));
        Assert.Equal(431, await StatusAsync(_server, $"GET / HTTP/1.1\r\nHost: localhost\r\n{string.Concat(Enumerable.Range(0, 101).Select(i => $"X-{i}: a\r\n"))}\r\n"));
        Assert.Equal(414, await StatusAsync(_server, $"GET /{new string('a', 9_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        request.Headers.Add("Authorization", "Bearer " + new string('k', 20_000));
        Assert.Equal(HttpStatusCode.OK, (await _server.Client.SendAsync(request)).StatusCode);
    }

    [Fact]
    public async Task Requests_by_the_server()
    {
        var target = new TcpListener(IPAddress.Loopback, 0);
        target.Start();
        string url = $"http://127.0.0.1:{((IPEndPoint)target.LocalEndpoint).Port}/x";
        foreach (string part in (string[])["{\"type\":\"image_url\",\"image_url\":{\"url\":\"URL\"}}", "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"URL\",\"format\":\"wav\"}}",
            "{\"type\":\"file\",\"file\":{\"file_data\":\"URL\"}}", "{\"type\":\"video_url\",\"video_url\":{\"url\":\"URL\"}}"])
            await AssertRefusedAsync("/v1/chat/completions", $"{{\"messages\":[{{\"role\":\"user\",\"content\":[{part.Replace("URL", url, StringComparison.Ordinal)}]}}]}}");
        await AssertRefusedAsync("/v1/completions", $"{{\"model\":\"{url}\",\"prompt\":\"a\"}}", HttpStatusCode.NotFound);
        await AssertRefusedAsync("/v1/completions", "{\"model\":\"file:///etc/passwd\",\"prompt\":\"a\"}", HttpStatusCode.NotFound);
        Assert.False(target.Pending());
        target.Stop();
    }

    [Fact]
    public async Task Paths_in_names()
    {
        foreach (string name in (string[])["../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "tiny/../../x", "tiny%00", "C:\\\\windows"])
        {
            int status = await StatusAsync(_server, $"GET /v1/models/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            Assert.Contains(status, (int[])[400, 404]);
            if (!name.Contains('\\', StringComparison.Ordinal))
                await AssertRefusedAsync("/v1/completions", $"{{\"model\":\"{name}\",\"prompt\":\"a\"}}", HttpStatusCode.NotFound);
        }
    }

    [Fact]
    public async Task Request_smuggling()
    {
        const string smuggled = "GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        // The control: what follows a proper request is answered, so that its absence means something.
        Assert.Contains("\"version\"", await TalkAsync(_server, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n" + smuggled), StringComparison.Ordinal);
        string[] attacks =
        [
            // Two lengths; a length and chunks; chunks that are none; ends of line that are none (CVE-2025-55315); folded and spaced headers.
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n",
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n{}\r\n0\r\n\r\n",
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length : 60\r\n\r\n",
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length:\r\n 60\r\n\r\n",
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        ];
        foreach (string attack in attacks)
        {
            string answers = await TalkAsync(_server, attack + smuggled);
            Assert.StartsWith("HTTP/1.1 4", answers, StringComparison.Ordinal);
            Assert.True(!answers.Contains("\"version\"", StringComparison.Ordinal), attack + answers);
        }

        // A length beside chunks: whoever goes by the length sees one request, so nothing behind the chunks may be answered on this connection.
        string both = await TalkAsync(_server, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 68\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled);
        Assert.StartsWith("HTTP/1.1 4", both, StringComparison.Ordinal);
        Assert.True(!both.Contains("\"version\"", StringComparison.Ordinal), both);
    }

    [Fact]
    public async Task Slow_clients()
    {
        KestrelServerLimits limits = _server.Service<IOptions<KestrelServerOptions>>().Value.Limits;
        Assert.InRange(limits.RequestHeadersTimeout.TotalSeconds, 1, 60);
        Assert.InRange(limits.KeepAliveTimeout.TotalSeconds, 1, 300);
        Assert.True(limits.MinRequestBodyDataRate is { BytesPerSecond: >= 100 });
        Assert.True(limits.MinResponseDataRate is { BytesPerSecond: >= 100 });
        Assert.InRange(limits.MaxConcurrentConnections ?? long.MaxValue, 1, 1_000_000);
        // A hundred that never finish asking keep nobody else waiting.
        var slow = new List<TcpClient>();
        for (int i = 0; i < 100; i++)
        {
            var client = new TcpClient();
            await client.ConnectAsync(_server.Address.Host, _server.Address.Port);
            await client.GetStream().WriteAsync("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"u8.ToArray());
            slow.Add(client);
        }

        Assert.Equal(HttpStatusCode.OK, (await _server.Client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"a","max_tokens":1}"""))).StatusCode);
        slow.ForEach(client => client.Dispose());
        await using TestServer one = await TestServer.StartWithoutModelAsync("Limits:MaxConnections=1");
        Assert.Equal(HttpStatusCode.OK, (await one.Client.GetAsync("/live")).StatusCode);
        using HttpClient second = one.NewClient();
        await Assert.ThrowsAsync<HttpRequestException>(() => second.GetAsync(new Uri("/live", UriKind.Relative)));
    }

    [Fact]
    public async Task Log_and_header_injection()
    {
        await using TestServer server = await TestServer.StartAsync("--enable-log-requests", "Logging:LogLevel:Default=Trace", "Logging:LogLevel:Microsoft=Warning");
        using var log = new LinesOfLog();
        server.Service<ILoggerFactory>().AddProvider(log);
        const string forged = "forged%20line";
        await server.Client.GetAsync($"/v1/models/x%0d%0a{forged}");
        await server.Client.GetAsync($"/x%0d%0a{forged}");
        foreach (string field in (string[])["model", "user", "kv_policy", "unknown\\r\\nforged line"])
            await server.Client.SendAsync(ApiClient.Request("/v1/completions", $"{{\"prompt\":\"a\",\"max_tokens\":1,\"{field}\":\"x\\r\\nforged line\"}}"));
        string raw = await TalkAsync(server, "GET /version HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: x\rSet-Cookie: a=b\r\nConnection: close\r\n\r\n");
        Assert.DoesNotContain("Set-Cookie", raw, StringComparison.Ordinal);
        await server.DisposeAsync();
        Assert.NotEmpty(log.Lines);
        Assert.All(log.Lines, line => Assert.DoesNotContain('\n', line));
    }

    [Fact]
    public async Task Abandoned_requests()
    {
        await using TestServer server = await TestServer.StartAsync(LongModel.Flags);
        ServedModel model = server.Service<IModelCatalog>().Models[0];
        for (int i = 0; i < 20; i++)
        {
            using var leave = new CancellationTokenSource();
            Task<HttpResponseMessage> asked = server.Client.SendAsync(
                ApiClient.Request("/v1/completions", $"{{\"prompt\":\"Once\",\"n\":4,\"stream\":{(i % 2 == 0 ? "true" : "false")},{LongModel.Endless}}}"), HttpCompletionOption.ResponseHeadersRead, leave.Token);
            await Eventually.TrueAsync(() => server.Service<ActiveRequests>().All.Any());
            await leave.CancelAsync();
            try
            {
                (await asked).Dispose();
            }
            catch (OperationCanceledException)
            {
                // That is leaving.
            }
        }

        await Eventually.TrueAsync(() => !server.Service<ActiveRequests>().All.Any() && model.Engine.Statistics is { BlocksUsed: 0, Running: 0, Waiting: 0 });
        await Eventually.TrueAsync(() => server.Service<ServerLifecycle>().InFlight == 0);
    }

    [Fact]
    public async Task Web_pages()
    {
        // A page's simple request has no JSON type; one with it asks first, and is not answered for.
        foreach (string type in (string[])["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
        {
            using HttpRequestMessage simple = ApiClient.Request("/v1/completions", """{"prompt":"a"}""");
            simple.Content!.Headers.Remove("Content-Type");
            simple.Content.Headers.TryAddWithoutValidation("Content-Type", type);
            simple.Headers.Add("Origin", "https://evil.example");
            HttpResponseMessage answer = await _server.Client.SendAsync(simple);
            Assert.Equal(HttpStatusCode.UnsupportedMediaType, answer.StatusCode);
            Assert.False(answer.Headers.Contains("Access-Control-Allow-Origin"));
        }

        using var preflight = new HttpRequestMessage(HttpMethod.Options, "/v1/completions");
        preflight.Headers.Add("Origin", "https://evil.example");
        preflight.Headers.Add("Access-Control-Request-Method", "POST");
        Assert.False((await _server.Client.SendAsync(preflight)).Headers.Contains("Access-Control-Allow-Origin"));
        using var rebound = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        rebound.Headers.Host = "evil.example:8000";
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.Client.SendAsync(rebound)).StatusCode);
    }

    [Fact]
    public async Task Growth_by_labels()
    {
        async Task<string[]> SeriesAsync() =>
            [.. (await _server.Client.GetStringAsync("/metrics")).Split('\n').Where(line => line.Length > 0 && line[0] != '#').Select(line => line[..line.LastIndexOf(' ')]).Order()];
        await _server.Client.GetAsync("/growth/0");
        await AssertRefusedAsync("/v1/completions", "{\"model\":\"growth-0\",\"prompt\":\"a\"}", HttpStatusCode.NotFound);
        await StatusAsync(_server, "GROW0 / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        string[] before = await SeriesAsync();
        for (int i = 1; i < 50; i++)
        {
            await _server.Client.GetAsync($"/growth/{i}");
            await AssertRefusedAsync("/v1/completions", $"{{\"model\":\"growth-{i}\",\"prompt\":\"a\",\"user\":\"u{i}\"}}", HttpStatusCode.NotFound);
            await StatusAsync(_server, $"GROW{i} / HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: id{i}\r\nConnection: close\r\n\r\n");
        }

        string[] after = await SeriesAsync();
        Assert.DoesNotContain(after, series => series.Contains("growth", StringComparison.OrdinalIgnoreCase) || series.Contains("GROW", StringComparison.Ordinal));
        Assert.InRange(after.Length - before.Length, 0, 20); // other tests of the collection ask routes of their own meanwhile, 49 of each would show
    }

    private async Task AssertRefusedAsync(string path, string body, HttpStatusCode expected = HttpStatusCode.BadRequest)
    {
        using HttpRequestMessage request = ApiClient.Request(path, body);
        using HttpResponseMessage answer = await _server.Client.SendAsync(request);
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == expected, $"{answer.StatusCode} to {body[..Math.Min(80, body.Length)]}: {text}");
        Assert.Equal(JsonValueKind.String, JsonDocument.Parse(text).RootElement.GetProperty("error").GetProperty("message").ValueKind);
    }

    private static async Task<int> StatusAsync(TestServer server, string request)
    {
        string answer = await TalkAsync(server, request);
        return int.Parse(answer.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>Sends bytes as they are and reads until the server closes, which the request must ask for or earn.</summary>
    private static async Task<string> TalkAsync(TestServer server, string request)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(server.Address.Host, server.Address.Port);
        NetworkStream stream = socket.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(request));
        using var answer = new MemoryStream();
        using var bound = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        try
        {
            await stream.CopyToAsync(answer, bound.Token);
        }
        catch (IOException)
        {
            // The server closed with bytes of ours unread: what it said before that counts.
        }

        return Encoding.UTF8.GetString(answer.ToArray());
    }
}
