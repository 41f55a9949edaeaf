namespace InferenceService.Server.Api;

/// <summary>An error as the API reports it; <see cref="OpenAiError"/> is the only place that turns it into JSON.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Type">Class of error, for example <c>invalid_request_error</c>.</param>
/// <param name="Code">Machine-readable code, for example <c>invalid_value</c>.</param>
/// <param name="Message">One sentence: field, received value, allowed range. No paths, no stack.</param>
/// <param name="Param">Dotted path of the field, when one is at fault.</param>
public sealed record ApiError(int Status, string Type, string Code, string Message, string? Param = null)
{
    private const int LongestRetrySeconds = 60;

    /// <summary>Seconds for <c>Retry-After</c>; null = no header.</summary>
    public int? RetryAfterSeconds { get; init; }

    /// <summary>The same in milliseconds, where it is known as exactly.</summary>
    public int? RetryAfterMilliseconds { get; init; }

    /// <summary>Value of <c>x-should-retry</c>; null = no header.</summary>
    public bool? ShouldRetry { get; init; }

    /// <summary>The same error, worth another try after a time: 1 s to 60 s in whole seconds, because clients do not believe more.</summary>
    public ApiError RetryIn(TimeSpan wait) => this with
    {
        RetryAfterSeconds = (int)Math.Clamp(Math.Ceiling(wait.TotalSeconds), 1, LongestRetrySeconds),
        RetryAfterMilliseconds = (int)Math.Clamp(Math.Ceiling(wait.TotalMilliseconds), 1, LongestRetrySeconds * 1000),
        ShouldRetry = true,
    };

    /// <summary>A field is missing, of the wrong type or out of range.</summary>
    public static ApiError InvalidValue(string param, string message) => new(400, "invalid_request_error", "invalid_value", message, param);

    /// <summary>A field is known but not supported here.</summary>
    public static ApiError Unsupported(string param, string message) => new(400, "invalid_request_error", "unsupported_parameter", message, param);

    /// <summary>No model is served under that name.</summary>
    public static ApiError ModelNotFound(string name) =>
        new(404, "invalid_request_error", "model_not_found", $"The model \"{Requests.JsonNumber.Clean(name)}\" does not exist here.", "model");
}
