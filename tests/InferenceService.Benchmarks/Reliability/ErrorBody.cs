using System.Globalization;
using System.Text.Json;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>An answer that is an error, and what is wrong with it as one.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Code">The error's code.</param>
/// <param name="Fault">What the API's shape lacks; null = nothing.</param>
internal sealed record ErrorBody(int Status, string? Code, string? Fault)
{
    private const int LongestWaitSeconds = 60;

    /// <summary>Codes of refusals that say "not now": clients come back later.</summary>
    private static readonly string[] NotNow = ["server_overloaded", "queue_timeout", "shutting_down", "model_loading"];

    /// <summary>The server had no room, and may have it later.</summary>
    public bool IsNotNow => Status is 503 or 429 or 529 && NotNow.Contains(Code);

    /// <summary>Reads an error answer and checks shape and headers.</summary>
    public static async Task<ErrorBody> ReadAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        byte[] body = await response.Content.ReadAsByteArrayAsync(cancellation);
        (string? code, string? fault) = Parse(body);
        var error = new ErrorBody((int)response.StatusCode, code, fault);
        if (fault is null && !response.Headers.Contains("x-request-id"))
            return error with { Fault = "no x-request-id" };
        return fault is null && error.IsNotNow ? error with { Fault = WaitFault(response) } : error;
    }

    /// <summary>Code of an error document, and what its shape lacks.</summary>
    public static (string? Code, string? Fault) Parse(ReadOnlyMemory<byte> body)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(body);
            if (!document.RootElement.TryGetProperty("error", out JsonElement error))
                return (null, "no error object");
            foreach (string key in (string[])["message", "type", "param", "code"])
            {
                if (!error.TryGetProperty(key, out _))
                    return (null, $"error without {key}");
            }

            return (error.GetProperty("code").GetString(), null);
        }
        catch (JsonException)
        {
            return (null, "not JSON");
        }
    }

    private static string? WaitFault(HttpResponseMessage response)
    {
        if (response.Headers.RetryAfter?.Delta is not { } wait || wait.TotalSeconds is < 1 or > LongestWaitSeconds)
            return $"Retry-After '{response.Headers.RetryAfter}' is not 1 to {LongestWaitSeconds} s";
        if (!response.Headers.TryGetValues("retry-after-ms", out IEnumerable<string>? milliseconds)
            || !double.TryParse(milliseconds.First(), CultureInfo.InvariantCulture, out _))
            return "no retry-after-ms";
        return response.Headers.TryGetValues("x-should-retry", out IEnumerable<string>? retry) && retry.First() == "true" ? null : "no x-should-retry: true";
    }
}
