namespace InferenceService.Server.Api.Requests;

/// <summary>How the answer is sent.</summary>
/// <param name="Enabled">Server-sent events instead of one body.</param>
/// <param name="IncludeUsage">A last chunk carries the usage.</param>
/// <param name="ContinuousUsage">Every chunk carries the usage so far.</param>
/// <param name="Interval">Tokens per event after the first; null = the server's.</param>
internal readonly record struct StreamFields(bool Enabled, bool IncludeUsage, bool ContinuousUsage, int? Interval)
{
    /// <summary>Reads <c>stream</c>, <c>stream_options</c> and <c>stream_interval</c>.</summary>
    public static StreamFields Read(FieldReader json)
    {
        bool enabled = json.Bool("stream") ?? false;
        FieldReader? options = json.Object("stream_options");
        if (options is not null && !enabled)
            json.Problems.Invalid("stream_options", "stream_options needs stream to be true.");
        options?.Bool("include_obfuscation");
        return new StreamFields(
            enabled,
            options?.Bool("include_usage") ?? false,
            options?.Bool("continuous_usage_stats") ?? false,
            (int?)json.Integer("stream_interval", 1, GenerationFields.MaxStreamInterval));
    }
}
