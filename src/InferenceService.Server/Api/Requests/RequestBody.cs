using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Unicode;
using InferenceService.Server.Configuration;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace InferenceService.Server.Api.Requests;

/// <summary>A request body as JSON, or the error that says why it is not. Owns the pooled bytes: dispose it after the request is read.</summary>
internal sealed class RequestBody : IDisposable
{
    /// <summary>Nesting that a body may have; the framework's own limit of 64 is too small for tool schemas.</summary>
    internal const int MaxDepth = 128;

    /// <summary>Fields that one object may have: bounds the cost of looking fields up by name.</summary>
    internal const int MaxFields = 512;

    /// <summary>Values, names and brackets that a body may have: as many ids as any route takes, and some. Each takes 12 bytes when parsed.</summary>
    internal const int MaxJsonTokens = (4 << 20) + (1 << 16);

    /// <summary>A body above this many bytes is parsed and tokenized in turn: that may take some tens of times its size in memory.</summary>
    private const int LargeBytes = 1 << 20;

    private static readonly SemaphoreSlim LargeBodies = new(1, 1);

    private readonly byte[] _bytes;
    private readonly JsonDocument? _document;
    private bool _hasTurn;

    private RequestBody(byte[] bytes, JsonDocument? document, ApiError? error) => (_bytes, _document, Error) = (bytes, document, error);

    /// <summary>Why the body cannot be used; null when <see cref="Root"/> can be read.</summary>
    public ApiError? Error { get; }

    /// <summary>The top-level object. Valid until disposal.</summary>
    public JsonElement Root => _document!.RootElement;

    /// <summary>Reads the whole body, at most <see cref="LimitOptions.MaxRequestBytes"/>.</summary>
    public static async Task<RequestBody> ReadAsync(HttpRequest request, LimitOptions limits, CancellationToken cancellationToken)
    {
        if (!StringValues.IsNullOrEmpty(request.Headers.ContentEncoding) && !request.Headers.ContentEncoding.ToString().Equals("identity", StringComparison.OrdinalIgnoreCase))
            return Refused(new ApiError(415, "invalid_request_error", "unsupported_media_type", "Content-Encoding: the body must be sent uncompressed."));
        if (!IsJson(request.ContentType))
            return Refused(new ApiError(415, "invalid_request_error", "unsupported_media_type", "Content-Type must be application/json in UTF-8."));
        // The limit is kept here, not by the web server: that one would close the connection under a client that still sends.
        if (request.HttpContext.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
            size.MaxRequestBodySize = null;
        if (request.ContentLength > limits.MaxRequestBytes)
            return await TooLargeAsync(request, limits, cancellationToken);

        byte[] bytes = ArrayPool<byte>.Shared.Rent((int)Math.Clamp(request.ContentLength ?? 0, 1024, 1 << 20));
        int length = 0;
        try
        {
            while (true)
            {
                ReadResult read = await request.BodyReader.ReadAsync(cancellationToken);
                long total = length + read.Buffer.Length;
                if (total > limits.MaxRequestBytes)
                {
                    request.BodyReader.AdvanceTo(read.Buffer.End);
                    break;
                }

                bytes = Grow(bytes, length, (int)total);
                read.Buffer.CopyTo(bytes.AsSpan(length));
                length = (int)total;
                request.BodyReader.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted)
                    return await ParseInTurnAsync(bytes, length, cancellationToken);
            }
        }
        catch (Exception e)
        {
            ArrayPool<byte>.Shared.Return(bytes);
            if (e is BadHttpRequestException { StatusCode: not StatusCodes.Status408RequestTimeout } bad) // too slow is no fault of the JSON
                return Refused(new ApiError(bad.StatusCode, "invalid_request_error", "invalid_json", "The body could not be read to its end."));
            throw;
        }

        ArrayPool<byte>.Shared.Return(bytes);
        return await TooLargeAsync(request, limits, cancellationToken);
    }

    /// <summary>Parses bytes rented from the shared pool, which this object then owns.</summary>
    internal static RequestBody Parse(byte[] rented, int length)
    {
        ReadOnlyMemory<byte> json = rented.AsMemory(0, length);
        if (json.Span.StartsWith("\uFEFF"u8))
            json = json[3..];
        if (Problem(json, out JsonDocument? document) is { } problem)
        {
            document?.Dispose();
            return new RequestBody(rented, null, problem);
        }

        return new RequestBody(rented, document, null);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _document?.Dispose();
        if (_bytes.Length > 0)
            ArrayPool<byte>.Shared.Return(_bytes);
        if (_hasTurn)
            LargeBodies.Release();
        _hasTurn = false;
    }

    /// <summary>Large bodies one after the other, until each is disposed; ordinary ones at once.</summary>
    private static async Task<RequestBody> ParseInTurnAsync(byte[] rented, int length, CancellationToken cancellationToken)
    {
        if (length <= LargeBytes)
            return Parse(rented, length);
        await LargeBodies.WaitAsync(cancellationToken);
        bool kept = false;
        try
        {
            RequestBody body = Parse(rented, length);
            body._hasTurn = kept = true;
            return body;
        }
        finally
        {
            if (!kept)
                LargeBodies.Release();
        }
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

    private static RequestBody Refused(ApiError error) => new([], null, error);

    private static ApiError NotJson(string why) => new(400, "invalid_request_error", "invalid_json", $"The body is not usable JSON: {why}.");

    /// <summary>Refuses the body, after reading on for as much again: most clients see an answer only when they have sent everything.</summary>
    private static async Task<RequestBody> TooLargeAsync(HttpRequest request, LimitOptions limits, CancellationToken cancellationToken)
    {
        long left = limits.MaxRequestBytes;
        bool ended = false;
        while (left > 0 && !ended)
        {
            ReadResult read = await request.BodyReader.ReadAsync(cancellationToken);
            left -= read.Buffer.Length;
            ended = read.IsCompleted;
            request.BodyReader.AdvanceTo(read.Buffer.End);
        }

        if (!ended)
            request.HttpContext.Response.Headers.Connection = "close";
        return Refused(new ApiError(413, "invalid_request_error", "request_too_large", $"The body is larger than {limits.MaxRequestBytes} bytes."));
    }

    private static bool IsJson(string? contentType) =>
        MediaTypeHeaderValue.TryParse(contentType, out MediaTypeHeaderValue? type)
        && type.MediaType.Equals("application/json", StringComparison.OrdinalIgnoreCase)
        && (!type.Charset.HasValue || type.Charset.Value.Trim('"').Equals("utf-8", StringComparison.OrdinalIgnoreCase));

    private static byte[] Grow(byte[] bytes, int used, int needed)
    {
        if (needed <= bytes.Length)
            return bytes;
        byte[] larger = ArrayPool<byte>.Shared.Rent((int)Math.Min(Array.MaxLength, Math.Max(needed, bytes.Length * 2L)));
        bytes.AsSpan(0, used).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(bytes);
        return larger;
    }
}
