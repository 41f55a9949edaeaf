using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using InferenceService.Server.Api;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Pipeline;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace InferenceService.Server.Tests.Hosting.Pipeline;

[Collection(ServerCollection.Name)]
public sealed class ErrorShapeTests(ServerFixture fixture)
{
    private readonly HttpClient _client = fixture.Server.Client;

    [Theory]
    [InlineData("GET", "/no/such/path", 404, "not_found")]
    [InlineData("POST", "/v1/no-such-route", 404, "not_found")]
    [InlineData("GET", "/v1/models/no/such/model", 404, "model_not_found")]
    [InlineData("POST", "/v1/models", 405, "method_not_allowed")]
    [InlineData("DELETE", "/health", 405, "method_not_allowed")]
    [InlineData("GET", "/v1/chat/completions", 405, "method_not_allowed")]
    [InlineData("GET", "/v1/completions/", 405, "method_not_allowed")]
    public async Task Failures_of_the_framework_have_the_shape_of_the_api(string method, string path, int status, string code)
    {
        HttpResponseMessage answer = await _client.SendAsync(new HttpRequestMessage(new HttpMethod(method), path));
        Assert.Equal(status, (int)answer.StatusCode);
        Assert.Equal("application/json", answer.Content.Headers.ContentType?.ToString());
        using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
        JsonElement error = body.RootElement.GetProperty("error");
        Assert.Equal(["message", "type", "param", "code"], error.EnumerateObject().Select(property => property.Name));
        Assert.Equal(code, error.GetProperty("code").GetString());
        Assert.Equal("invalid_request_error", error.GetProperty("type").GetString());
        Assert.Equal(status == 405, answer.Content.Headers.Allow.Count > 0);
    }

    [Fact]
    public async Task Head_gets_status_and_headers_without_a_body()
    {
        HttpResponseMessage found = await _client.SendAsync(new HttpRequestMessage(HttpMethod.Head, "/v1/models"));
        Assert.Equal(HttpStatusCode.OK, found.StatusCode);
        Assert.True(found.Content.Headers.ContentLength > 0);
        Assert.Empty(await found.Content.ReadAsByteArrayAsync());
        HttpResponseMessage missing = await _client.SendAsync(new HttpRequestMessage(HttpMethod.Head, "/no/such/path"));
        Assert.Equal(HttpStatusCode.NotFound, missing.StatusCode);
        Assert.Empty(await missing.Content.ReadAsByteArrayAsync());
    }

    [Theory]
    [InlineData("/health/")]
    [InlineData("/v1/models/")]
    [InlineData("/models/")]
    [InlineData("/version/")]
    public async Task A_trailing_slash_changes_nothing(string path) => Assert.Equal(HttpStatusCode.OK, (await _client.GetAsync(path)).StatusCode);

    [Fact]
    public async Task A_body_beyond_the_limit_is_413()
    {
        await using TestServer server = await TestServer.StartAsync("Limits:MaxRequestBytes=2000");
        using var body = new StringContent($"{{\"prompt\":\"{new string('x', 3000)}\"}}", Encoding.UTF8, "application/json");
        HttpResponseMessage answer = await server.Client.PostAsync("/v1/completions", body);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);
        Assert.Contains("\"code\":\"request_too_large\"", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_of_another_type_is_415()
    {
        using var body = new StringContent("prompt=x", Encoding.UTF8, "application/x-www-form-urlencoded");
        HttpResponseMessage answer = await _client.PostAsync("/v1/completions", body);
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, answer.StatusCode);
        Assert.Contains("\"code\":\"unsupported_media_type\"", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_not_http_ends_the_connection_and_nothing_else()
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(fixture.Server.Address.Host, fixture.Server.Address.Port);
        NetworkStream stream = socket.GetStream();
        await stream.WriteAsync("NOT HTTP AT ALL\r\n\r\n"u8.ToArray());
        using var reader = new StreamReader(stream);
        Assert.StartsWith("HTTP/1.1 400", await reader.ReadToEndAsync(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await _client.GetAsync("/health")).StatusCode);
    }

    /// <summary>What docs/api.md lists as answered by the web server itself, before anything of the API runs.</summary>
    public static TheoryData<string, int> Unreadable => new()
    {
        { "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400 },
        { $"GET /{new string('a', 9000)} HTTP/1.1\r\nHost: a\r\n\r\n", 414 },
        { $"GET / HTTP/1.1\r\nHost: a\r\nX-Long: {new string('a', 33_000)}\r\n\r\n", 431 },
        { $"GET / HTTP/1.1\r\nHost: a\r\n{string.Concat(Enumerable.Range(0, 101).Select(i => $"X-{i}: a\r\n"))}\r\n", 431 },
        { "GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505 },
    };

    [Theory]
    [MemberData(nameof(Unreadable))]
    public async Task What_the_web_server_cannot_read_has_a_status_and_no_body(string request, int status)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(fixture.Server.Address.Host, fixture.Server.Address.Port);
        NetworkStream stream = socket.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(request));
        var read = new MemoryStream();
        try
        {
            await stream.CopyToAsync(read);
        }
        catch (IOException)
        {
            // Behind its answer it closes on what it has not read.
        }

        string answer = Encoding.ASCII.GetString(read.ToArray());
        Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
        Assert.Contains("Content-Length: 0\r\n", answer, StringComparison.Ordinal);
        Assert.EndsWith("\r\n\r\n", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unhandled_exception_is_a_500_that_tells_nothing()
    {
        (int status, string body) = await RunAsync(_ => throw new InvalidOperationException("secret detail in /etc/passwd"));
        Assert.Equal(500, status);
        Assert.Equal("""{"error":{"message":"The server failed to handle the request.","type":"server_error","param":null,"code":"internal_error"}}""", body);
    }

    [Theory]
    [InlineData(400, "invalid_request")]
    [InlineData(408, "request_timeout")]
    [InlineData(413, "request_too_large")]
    [InlineData(415, "unsupported_media_type")]
    public async Task A_bad_request_of_the_framework_keeps_its_status(int thrown, string code)
    {
        (int status, string body) = await RunAsync(_ => throw new BadHttpRequestException("Type System.Secret failed", thrown));
        Assert.Equal(thrown, status);
        Assert.Contains($"\"code\":\"{code}\"", body, StringComparison.Ordinal);
        Assert.DoesNotContain("System.Secret", body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_that_arrives_too_slowly_is_a_timeout_and_not_bad_json()
    {
        var arriving = new Pipe();
        await arriving.Writer.WriteAsync("{\"prompt\":"u8.ToArray());
        await arriving.Writer.CompleteAsync(new BadHttpRequestException("Reading the request body timed out", 408));
        (int status, string body) = await RunAsync(async context =>
        {
            context.Request.ContentType = "application/json";
            context.Request.Body = arriving.Reader.AsStream();
            using var bodies = new BodyReader(new LimitOptions(), new AdmissionOptions());
            using RequestBody read = await bodies.ReadAsync(context.Request, CancellationToken.None);
            await OpenAiError.WriteAsync(context, read.Error!);
        });
        Assert.Equal(408, status);
        Assert.Contains("\"type\":\"timeout_error\",\"param\":null,\"code\":\"request_timeout\"", body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_went_away_gets_no_answer_and_is_logged_as_499()
    {
        using var gone = new CancellationTokenSource();
        await gone.CancelAsync();
        (int status, string body) = await RunAsync(context => throw new OperationCanceledException(context.RequestAborted), aborted: gone.Token);
        Assert.Equal((499, ""), (status, body));
    }

    [Fact]
    public async Task A_mistake_of_ours_is_logged_even_when_the_client_has_left_and_the_leaving_itself_is_not()
    {
        using var gone = new CancellationTokenSource();
        await gone.CancelAsync();
        using var log = new LinesOfLog();
        using var factory = new LoggerFactory([log]);
        ILogger<ErrorShape> logger = factory.CreateLogger<ErrorShape>();
        foreach (Exception leaving in (Exception[])[new OperationCanceledException(gone.Token), new ConnectionResetException("reset"), new BadHttpRequestException("Unexpected end of request content.")])
            Assert.Equal((499, ""), await RunAsync(_ => throw leaving, logger, gone.Token));
        Assert.Empty(log.Lines);
        Assert.Equal((499, ""), await RunAsync(_ => throw new InvalidOperationException("ours"), logger, gone.Token));
        Assert.Contains("InvalidOperationException: ours", Assert.Single(log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_route_that_gave_up_without_a_word_because_its_client_left_is_logged_as_499_too()
    {
        using var gone = new CancellationTokenSource();
        await gone.CancelAsync();
        Assert.Equal((499, ""), await RunAsync(_ => Task.CompletedTask, aborted: gone.Token));
    }

    [Fact]
    public async Task An_answer_that_somebody_wrote_is_left_alone()
    {
        (int status, string body) = await RunAsync(async context =>
        {
            context.Response.StatusCode = 404;
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync("{}");
        });
        Assert.Equal((404, "{}"), (status, body));
    }

    private static async Task<(int Status, string Body)> RunAsync(RequestDelegate next, ILogger<ErrorShape>? logger = null, CancellationToken aborted = default)
    {
        var context = new DefaultHttpContext { RequestAborted = aborted };
        var body = new MemoryStream();
        context.Features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(body));
        await new ErrorShape(next, new LimitOptions(), logger ?? NullLogger<ErrorShape>.Instance).InvokeAsync(context);
        return (context.Response.StatusCode, Encoding.UTF8.GetString(body.ToArray()));
    }
}
