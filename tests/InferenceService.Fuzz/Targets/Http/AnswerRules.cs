using System.Text.Json;
using InferenceService.Fuzz.Loop;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>What holds of every answer: a documented status, JSON, and an error of one line with its four members.</summary>
internal static class AnswerRules
{
    private const int MaxMessage = 8192;

    /// <summary>Statuses that a request can earn.</summary>
    private static readonly int[] Statuses = [200, 204, 301, 307, 308, 400, 401, 403, 404, 405, 413, 415, 429, 503];

    /// <summary>Holds an answer to the rules.</summary>
    public static void Check(HttpContext http, ReadOnlyMemory<byte> body, out JsonElement answer)
    {
        int status = http.Response.StatusCode;
        answer = default;
        if (!Statuses.Contains(status))
            throw new OracleException($"status {status}");
        bool isJson = http.Response.ContentType?.StartsWith("application/json", StringComparison.Ordinal) ?? false;
        if (status < 400 && !isJson)
            return;
        try
        {
            using JsonDocument document = JsonDocument.Parse(body);
            answer = document.RootElement.Clone();
        }
        catch (JsonException e)
        {
            throw new OracleException($"status {status} with a body that is no JSON: {e.Message}");
        }

        if (status >= 400)
            CheckError(answer);
    }

    private static void CheckError(JsonElement answer)
    {
        JsonElement error = answer.GetProperty("error");
        string message = error.GetProperty("message").GetString() ?? "", code = error.GetProperty("code").GetString() ?? "", type = error.GetProperty("type").GetString() ?? "";
        _ = error.GetProperty("param").GetString();
        if (message.Length is 0 or > MaxMessage || message.Any(char.IsControl) || code.Length == 0 || type.Length == 0)
            throw new OracleException($"an error that is not one line, or lacks something: {code} {type} {message.Length} {message[..Math.Min(200, message.Length)]}");
    }
}
