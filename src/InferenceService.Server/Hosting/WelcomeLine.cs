using System.Text.Json;

namespace InferenceService.Server.Hosting;

/// <summary>The last words of the start: where the server listens, and one line to paste that streams an answer.</summary>
/// <param name="PathBase">Path under which the server is published; null or empty = none.</param>
/// <param name="KeyRequired">Callers must send a key.</param>
internal sealed record WelcomeLine(string? PathBase, bool KeyRequired)
{
    /// <summary>Prints them.</summary>
    public void Print(StartupConsole console, ICollection<string> bound, IReadOnlyList<ServedModel> models)
    {
        console.Line("");
        console.Line($"Listening on {string.Join(", ", bound)}");
        if (bound.Select(ListenAddresses.ForClients).FirstOrDefault(url => !url.Contains("unix:", StringComparison.Ordinal)) is { } address && models.Count > 0)
            console.Line($"Try it:\n\n{Curl(address + PathBase, models[0])}\n");
    }

    /// <summary>A curl command in one line that streams a story.</summary>
    /// <param name="address">Scheme, host, port and path base.</param>
    /// <param name="model">The model to ask.</param>
    public string Curl(string address, ServedModel model)
    {
        // A quote would end the shell's string; as an escape it stays JSON.
        string name = JsonEncodedText.Encode(model.Names[0]).ToString().Replace("'", "\\u0027", StringComparison.Ordinal);
        int tokens = Math.Min(300, Math.Max(1, model.MaxModelLength / 2));
        string key = KeyRequired ? " -H \"Authorization: Bearer $API_KEY\"" : "";
        (string path, string prompt) = model.ChatTemplate is null
            ? ("completions", "\"prompt\":\"Once upon a time\"")
            : ("chat/completions", "\"messages\":[{\"role\":\"user\",\"content\":\"Tell me a story about a brave little rabbit.\"}]");
        string body = $"{{\"model\":\"{name}\",\"stream\":true,\"max_tokens\":{tokens},{prompt}}}";
        return $"curl -N {address}/v1/{path}{key} -H 'Content-Type: application/json' -d '{body}'";
    }
}
