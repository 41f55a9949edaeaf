using System.Net;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Pipeline;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Telemetry.Otlp;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace InferenceService.Server.Tests.Hosting.Pipeline;

[Collection(ServerCollection.Name)]
public sealed class RequestEnvelopeTests(ServerFixture fixture)
{
    private readonly HttpClient _client = fixture.Server.Client;

    [Theory]
    [InlineData("abc-123")]
    [InlineData("A.b_c:d-9")]
    public async Task A_proper_request_id_comes_back(string id) => Assert.Equal(id, await IdAsync(id));

    [Theory]
    [InlineData("has space")]
    [InlineData("semi;colon")]
    [InlineData("ümlaut")]
    [InlineData("")]
    [InlineData(null)]
    public async Task Any_other_is_replaced(string? id) => Assert.Matches("^req_[0-9a-f]{32}$", await IdAsync(id));

    [Fact]
    public async Task An_id_has_128_characters_at_most()
    {
        Assert.Equal(new string('x', 128), await IdAsync(new string('x', 128)));
        Assert.StartsWith("req_", await IdAsync(new string('x', 129)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/health", HttpStatusCode.OK)]
    [InlineData("/no/such/path", HttpStatusCode.NotFound)]
    public async Task Every_answer_carries_id_version_and_time(string path, HttpStatusCode status)
    {
        HttpResponseMessage answer = await _client.GetAsync(path);
        Assert.Equal(status, answer.StatusCode);
        Assert.NotEmpty(answer.Headers.GetValues("x-request-id").Single());
        Assert.Equal("2020-10-01", answer.Headers.GetValues("openai-version").Single());
        Assert.True(int.Parse(answer.Headers.GetValues("openai-processing-ms").Single(), System.Globalization.CultureInfo.InvariantCulture) >= 0);
        Assert.False(answer.Headers.Contains("Server"));
    }

    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 0)]
    public async Task Requests_are_logged_by_route_and_never_by_content(bool wanted, int lines)
    {
        var log = new ListLogger();
        var context = new DefaultHttpContext();
        context.Request.Method = "POST";
        context.Request.Path = "/v1/secret-path";
        context.Request.QueryString = new QueryString("?secret=query");
        context.Request.Headers["X-Request-Id"] = "id-1";
        var envelope = new RequestEnvelope(_ => Task.CompletedTask, new HttpMetrics(), new LoggingOptions { Requests = wanted }, OtlpSettings.From(new TelemetryOptions(), new ProcessEnvironment { Variables = new Dictionary<string, string>() }), new ManualTime(), log);
        await envelope.InvokeAsync(context);
        Assert.Equal(lines, log.Lines.Count);
        Assert.All(log.Lines, line => Assert.StartsWith("POST unmatched 200 in 0.0 ms, request id-1", line, StringComparison.Ordinal));
    }

    private sealed class ListLogger : ILogger<RequestEnvelope>
    {
        public List<string> Lines { get; } = [];

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Lines.Add(formatter(state, exception));
    }

    private async Task<string> IdAsync(string? given)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, "/health");
        if (given is not null)
            request.Headers.TryAddWithoutValidation("X-Request-Id", given);
        try
        {
            return (await _client.SendAsync(request)).Headers.GetValues("x-request-id").Single();
        }
        catch (HttpRequestException) when (given!.Any(c => c > 127))
        {
            // The client itself refuses to send it; what is left is the server's own.
            return (await _client.GetAsync("/health")).Headers.GetValues("x-request-id").Single();
        }
    }
}
