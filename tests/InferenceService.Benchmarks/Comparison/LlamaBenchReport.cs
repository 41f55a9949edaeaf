using System.Text.Json;

namespace InferenceService.Benchmarks.Comparison;

/// <summary>What one run of <c>llama-bench -o json</c> measured.</summary>
/// <param name="Build">Commit of its build.</param>
/// <param name="Model">Its name for model and quantisation.</param>
/// <param name="PrefillRate">Prompt tokens a second.</param>
/// <param name="DecodeRate">Generated tokens a second, one sequence.</param>
internal sealed record LlamaBenchReport(string Build, string Model, double PrefillRate, double DecodeRate)
{
    /// <summary>Reads the array of tests that it prints: the one of <paramref name="prompt"/> tokens and the one of <paramref name="generate"/>.</summary>
    /// <exception cref="FormatException">It is not that, or a test is missing.</exception>
    public static LlamaBenchReport Parse(string json, int prompt, int generate)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement[] tests = [.. document.RootElement.EnumerateArray()];
            JsonElement first = Find(tests, prompt, 0), second = Find(tests, 0, generate);
            return new LlamaBenchReport(Text(first, "build_commit"), Text(first, "model_type"), Rate(first), Rate(second));
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new FormatException($"llama-bench: its output is not the JSON that -o json prints: {exception.Message}", exception);
        }
    }

    private static JsonElement Find(JsonElement[] tests, int prompt, int generate)
    {
        foreach (JsonElement test in tests)
        {
            if (test.GetProperty("n_prompt").GetInt32() == prompt && test.GetProperty("n_gen").GetInt32() == generate)
                return test;
        }

        throw new FormatException($"llama-bench: no test of {prompt} prompt and {generate} generated tokens in its output.");
    }

    private static double Rate(JsonElement test)
    {
        double rate = test.GetProperty("avg_ts").GetDouble();
        return rate > 0 && double.IsFinite(rate) ? rate : throw new FormatException($"llama-bench: avg_ts is {rate}; expected a rate above 0.");
    }

    private static string Text(JsonElement test, string name) => test.TryGetProperty(name, out JsonElement value) ? value.ToString() : "unknown";
}
