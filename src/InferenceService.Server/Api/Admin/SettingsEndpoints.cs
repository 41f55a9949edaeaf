using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Admin;

namespace InferenceService.Server.Api.Admin;

/// <summary><c>GET /admin/config</c> (secrets redacted), <c>GET</c> and <c>PUT /admin/log-level</c>.</summary>
internal sealed class SettingsEndpoints(AdminParts parts)
{
    private static readonly string LevelNames = string.Join(", ", Enum.GetNames<LogLevel>());

    /// <summary>Every setting in force with its source, as <c>--print-config</c> shows them.</summary>
    public Task WriteConfigAsync(HttpContext http) => JsonBody.WriteAsync(http, json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("settings");
        foreach (EffectiveSetting setting in parts.Settings.Effective)
        {
            json.WriteStartObject();
            json.WriteString("key", setting.Key);
            json.WriteString("value", setting.Value);
            json.WriteString("source", setting.Source);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    /// <summary>Levels by category.</summary>
    public Task WriteLevelsAsync(HttpContext http) => JsonBody.WriteAsync(http, json =>
    {
        json.WriteStartObject();
        json.WriteStartObject("levels");
        foreach ((string category, string level) in parts.Levels.InForce)
            json.WriteString(category, level);
        json.WriteEndObject();
        json.WriteEndObject();
    });

    /// <summary>Body <c>{"level": "Debug", "category": "Default"}</c>; the category may be left out.</summary>
    public async Task ChangeLevelAsync(HttpContext http)
    {
        using RequestBody body = await parts.Bodies.ReadAsync(http.Request, http.RequestAborted);
        ApiError? error = body.Error;
        if (error is null)
        {
            var problems = new Problems();
            var json = new FieldReader(body.Root, "", problems);
            string word = json.Text("level") ?? "", category = json.Text("category") ?? LogLevels.Default;
            error = problems.ToError();
            // A number would be parsed as well.
            bool known = Enum.TryParse(word, ignoreCase: true, out LogLevel level) && Enum.GetName(level)?.Equals(word, StringComparison.OrdinalIgnoreCase) == true;
            if (!known)
                error ??= ApiError.InvalidValue("level", $"level must be one of {LevelNames}, got \"{JsonNumber.Clean(word)}\".");
            else if (error is null && parts.Levels.Set(category, level) is { } problem)
                error = ApiError.InvalidValue("category", $"{problem}.");
            if (error is null)
                AdminAudit.Note(http, $"{category} to {level}");
        }

        if (error is not null)
            await OpenAiError.WriteAsync(http, error);
        else
            await WriteLevelsAsync(http);
    }
}
