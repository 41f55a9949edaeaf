using System.Text.Json;
using System.Text.Unicode;

namespace InferenceService.Server.Api.Requests;

/// <summary>A request body as JSON, or the error that says why it is not. Owns the bytes: dispose it after the request is read.</summary>
internal sealed class RequestBody : IDisposable
{
    /// <summary>Nesting that a body may have; the framework's own limit of 64 is too small for tool schemas.</summary>
    internal const int MaxDepth = 128;

    /// <summary>Fields that one object may have: bounds the cost of looking fields up by name.</summary>
    internal const int MaxFields = 512;

    /// <summary>Values, names and brackets that a body may have: as many ids as any route takes, and some. Each takes 12 bytes when parsed.</summary>
    internal const int MaxJsonTokens = (4 << 20) + (1 << 16);

    private readonly BodyBytes? _bytes;
    private readonly JsonDocument? _document;

    private RequestBody(BodyBytes? bytes, JsonDocument? document, ApiError? error) => (_bytes, _document, Error) = (bytes, document, error);

    /// <summary>Why the body cannot be used; null when <see cref="Root"/> can be read.</summary>
    public ApiError? Error { get; }

    /// <summary>The top-level object. Valid until disposal.</summary>
    public JsonElement Root => _document!.RootElement;

    /// <summary>A body that is not there to be read.</summary>
    public static RequestBody Refused(ApiError error) => new(null, null, error);

    /// <summary>Parses bytes, which this object then owns.</summary>
    public static RequestBody Parse(BodyBytes bytes)
    {
        ReadOnlyMemory<byte> json = bytes.Written;
        if (json.Span.StartsWith("\uFEFF"u8))
            json = json[3..];
        if (Problem(json, out JsonDocument? document) is { } problem)
        {
            document?.Dispose();
            return new RequestBody(bytes, null, problem);
        }

        return new RequestBody(bytes, document, null);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _document?.Dispose();
        _bytes?.Dispose();
    }

    private static ApiError? Problem(ReadOnlyMemory<byte> json, out JsonDocument? document)
    {
        document = null;
        if (!Utf8.IsValid(json.Span))
            return NotJson($"it is not valid UTF-8 (byte offset {JsonText.FirstInvalidUtf8(json.Span)})");
        try
        {
            if (json.Length > MaxJsonTokens && HasTooManyTokens(json.Span))
                return Invalid($"The body has more than {MaxJsonTokens} JSON values, names and brackets.");
            document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = MaxDepth });
        }
        catch (JsonException e)
        {
            return NotJson($"syntax error or nesting deeper than {MaxDepth} at byte offset {JsonText.Offset(json.Span, e)}");
        }

        int lone = JsonText.FirstLoneSurrogate(json.Span);
        if (lone >= 0)
            return NotJson($"an escaped surrogate has no partner at byte offset {lone}");
        if (document.RootElement.ValueKind != JsonValueKind.Object)
            return Invalid("The body must be a JSON object.");
        return document.RootElement.GetPropertyCount() > MaxFields ? Invalid($"The body has more than {MaxFields} fields.") : null;
    }

    private static bool HasTooManyTokens(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = MaxDepth });
        int tokens = 0;
        while (tokens <= MaxJsonTokens && reader.Read())
            tokens++;
        return tokens > MaxJsonTokens;
    }

    private static ApiError Invalid(string message) => new(400, "invalid_request_error", "invalid_value", message);

    private static ApiError NotJson(string why) => new(400, "invalid_request_error", "invalid_json", $"The body is not usable JSON: {why}.");
}
