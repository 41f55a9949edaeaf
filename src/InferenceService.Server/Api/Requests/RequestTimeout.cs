using System.Globalization;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Api.Requests;

/// <summary>How long a request may take, by its body, by a header, and by the server: <see cref="AdmissionOptions.RequestTimeout"/>.</summary>
internal static class RequestTimeout
{
    /// <summary>Milliseconds, for clients that cannot add fields to the body; the body wins.</summary>
    internal const string Header = "x-inference-timeout-ms";

    /// <summary>Field of the body.</summary>
    internal const string Field = "timeout_ms";

    /// <summary>Code of the error.</summary>
    internal const string Code = "request_timeout";

    private const int Longest = 86_400_000;

    /// <summary>The field's value; null = the request does not say.</summary>
    public static TimeSpan? Read(FieldReader json) => json.Integer(Field, 1, Longest) is { } milliseconds ? TimeSpan.FromMilliseconds(milliseconds) : null;

    /// <summary>The fields with the header's value where the body says nothing.</summary>
    public static GenerationFields Apply(HttpRequest request, GenerationFields fields, Problems problems)
    {
        string? header = request.Headers[Header];
        if (fields.Timeout is not null || string.IsNullOrEmpty(header))
            return fields;
        if (int.TryParse(header, NumberStyles.None, CultureInfo.InvariantCulture, out int milliseconds) && milliseconds is >= 1 and <= Longest)
            return fields with { Timeout = TimeSpan.FromMilliseconds(milliseconds) };
        problems.Invalid(Header, $"The header {Header} must be an integer from 1 to {Longest}, got \"{JsonNumber.Clean(header)}\".");
        return fields;
    }

    /// <summary>What holds: the request's own, within the server's; null = none.</summary>
    public static TimeSpan? Of(TimeSpan? asked, AdmissionOptions options)
    {
        TimeSpan? most = options.RequestTimeout > TimeSpan.Zero ? options.RequestTimeout : null;
        return asked is null || asked > most ? most : asked;
    }

    /// <summary>The answer when it has passed.</summary>
    public static ApiError Error(TimeSpan limit) => new(
        504, "timeout_error", Code, string.Create(CultureInfo.InvariantCulture, $"The request was not complete after its time limit of {limit.TotalSeconds:0.###} s."))
    {
        ShouldRetry = false,
    };
}
