using System.Net;

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
