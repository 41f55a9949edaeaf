using System.Text.Json;
using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

/// <summary>Reads the files under tests/golden that belong to templates, and renders at the time for which they were made.</summary>
internal static class TemplateGoldens
{
    public static string Folder { get; } = Path.Combine(Root(), "tests", "golden");

    /// <summary>2025-07-10 12:00:00.</summary>
    public static TimeProvider Noon { get; } = new FixedTime();

    public static IEnumerable<JsonElement> Lines(string file)
    {
        foreach (string line in File.ReadLines(Path.Combine(Folder, file)))
            yield return JsonSerializer.Deserialize<JsonElement>(line);
    }

    /// <summary>A context with these variables, which are the members of a JSON object.</summary>
    public static TemplateContext Context(JsonElement variables) => Fill(new TemplateContext { Time = Noon }, variables);

    public static TemplateContext Context(string variables = "{}") => Context(JsonSerializer.Deserialize<JsonElement>(variables));

    public static TemplateContext Fill(TemplateContext context, JsonElement variables)
    {
        foreach (JsonProperty variable in variables.EnumerateObject())
            context.Set(variable.Name, Value.FromJson(variable.Value));
        return context;
    }

    /// <summary>Renders a source with the variables of a JSON object.</summary>
    public static string Render(string source, string variables = "{}") => ChatTemplate.Parse(source).Render(Context(variables));

    private static string Root()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "InferenceService.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new DirectoryNotFoundException("No InferenceService.sln above the tests.");
    }

    private sealed class FixedTime : TimeProvider
    {
        public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

        public override DateTimeOffset GetUtcNow() => new(2025, 7, 10, 12, 0, 0, TimeSpan.Zero);
    }
}
