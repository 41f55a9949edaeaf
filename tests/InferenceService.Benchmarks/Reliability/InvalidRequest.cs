namespace InferenceService.Benchmarks.Reliability;

/// <summary>A request that must be refused for what it says, whatever the load.</summary>
/// <param name="Path">Where it goes.</param>
/// <param name="Body">What it says; null = a GET.</param>
/// <param name="Status">The answer it must get.</param>
/// <param name="Code">The code in the answer's error.</param>
/// <param name="MediaType">Type of the body.</param>
internal sealed record InvalidRequest(string Path, byte[]? Body, int Status, string Code, string MediaType = "application/json")
{
    /// <summary>One of every kind.</summary>
    /// <param name="model">Name of the model that is served.</param>
    /// <param name="context">Its context length in tokens.</param>
    public static InvalidRequest[] All(string model, int context)
    {
        const string Completions = "/v1/completions", Chat = "/v1/chat/completions";
        string served = $"\"model\":\"{model}\"";
        return
        [
            Of(Completions, $"{{{served},\"prompt\":", 400, "invalid_json"),
            new(Completions, [.. "{\"prompt\":\""u8, 0xC3, 0x28, .. "\"}"u8], 400, "invalid_json"),
            Of(Completions, new string('[', 4000), 400, "invalid_json"),
            Of(Completions, $"{{{served},\"max_tokens\":4}}", 400, "missing_required_parameter"),
            Of(Completions, $"{{{served},\"prompt\":\"a\",\"max_tokens\":-1}}", 400, "invalid_value"),
            Of(Completions, $"{{{served},\"prompt\":\"a\",\"n\":1000000}}", 400, "invalid_value"),
            Of(Completions, $"{{{served},\"prompt\":\"a\",\"temperature\":1e30}}", 400, "invalid_value"),
            Of(Completions, $"{{{served},\"prompt\":[-1]}}", 400, "invalid_value"),
            Of(Completions, $"{{{served},\"prompt\":[99999999]}}", 400, "invalid_value"),
            Of(Completions, $"{{{served},\"prompt\":\"a\",\"max_tokens\":{context + 1}}}", 400, "context_length_exceeded"),
            Of(Completions, $"{{{served},\"prompt\":\"a\",\"kv_policy\":\"none-such\"}}", 400, "kv_policy_not_allowed"),
            Of(Completions, $"{{{served},\"prompt\":\"a\",\"kv_policy\":{{\"name\":\"full\",\"key_bits\":8}}}}", 400, "kv_policy_incompatible"),
            Of(Completions, "{\"model\":\"none-such\",\"prompt\":\"a\"}", 404, "model_not_found"),
            Of(Chat, $"{{{served},\"messages\":[]}}", 400, "invalid_value"),
            Of(Chat, $"{{{served},\"messages\":[{{\"role\":\"user\"}}]}}", 400, "missing_required_parameter"),
            Of(Completions, $"{{{served},\"prompt\":\"a\"}}", 415, "unsupported_media_type") with { MediaType = "text/plain" },
            new(Completions, null, 405, "method_not_allowed"),
            Of("/v1/none-such", "{}", 404, "not_found"),
        ];
    }

    private static InvalidRequest Of(string path, string body, int status, string code) => new(path, System.Text.Encoding.UTF8.GetBytes(body), status, code);
}
