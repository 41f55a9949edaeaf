using System.Net;
using System.Text;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api;

/// <summary>Calls the API without any client library, so that every byte can be looked at.</summary>
internal static class ApiClient
{
    /// <summary>A JSON request.</summary>
    public static HttpRequestMessage Request(string path, string json) =>
        new(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") };

    /// <summary>Answer of a request that must succeed.</summary>
    public static async Task<JsonElement> PostAsync(HttpClient client, string path, string json)
    {
        using HttpResponseMessage response = await client.SendAsync(Request(path, json));
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.OK, $"{response.StatusCode}: {text}");
        return JsonDocument.Parse(text).RootElement;
    }

    /// <summary>All events of a stream that must begin well: the text behind <c>data: </c>, comments with their colon.</summary>
    public static async Task<List<string>> StreamAsync(HttpClient client, string path, string json)
    {
        using HttpResponseMessage response = await client.SendAsync(Request(path, json), HttpCompletionOption.ResponseHeadersRead);
        if (response.StatusCode != HttpStatusCode.OK)
            Assert.Fail($"{response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
        Assert.Equal("text/event-stream; charset=utf-8", response.Content.Headers.ContentType?.ToString());
        Assert.True(response.Headers.CacheControl?.NoCache);
        Assert.Equal(["no"], response.Headers.GetValues("X-Accel-Buffering"));
        var events = new List<string>();
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        while (await NextAsync(reader) is { } data)
            events.Add(data);
        return events;
    }

    /// <summary>The next event of a stream; null at its end.</summary>
    public static async Task<string?> NextAsync(StreamReader reader)
    {
        string? line = await reader.ReadLineAsync();
        if (line is null)
            return null;
        Assert.Equal("", await reader.ReadLineAsync());
        if (line.StartsWith(':'))
            return line;
        Assert.StartsWith("data: ", line, StringComparison.Ordinal);
        return line["data: ".Length..];
    }

    /// <summary>The bytes of a text as token ids of the tiny model, as a JSON array.</summary>
    public static string ByteIds(string text) => $"[{string.Join(',', Encoding.UTF8.GetBytes(text).Select(b => TinyModel.FirstByteId + b))}]";
}
