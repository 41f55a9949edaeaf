using System.IO.Pipelines;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace InferenceService.Server.Api.Requests;

/// <summary>Reads bodies: each at most <see cref="LimitOptions.MaxRequestBytes"/>, all together at most <see cref="LimitOptions.MaxPendingRequestBytes"/>.</summary>
internal sealed class BodyReader(LimitOptions limits, AdmissionOptions admission) : IDisposable
{
    /// <summary>What bodies take now.</summary>
    public BodyMemory Memory { get; } = new(limits.MaxPendingRequestBytes);

    /// <summary>Reads the whole body.</summary>
    public async Task<RequestBody> ReadAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (!StringValues.IsNullOrEmpty(request.Headers.ContentEncoding) && !request.Headers.ContentEncoding.ToString().Equals("identity", StringComparison.OrdinalIgnoreCase))
            return RequestBody.Refused(new ApiError(415, "invalid_request_error", "unsupported_media_type", "Content-Encoding: the body must be sent uncompressed."));
        if (!IsJson(request.ContentType))
            return RequestBody.Refused(new ApiError(415, "invalid_request_error", "unsupported_media_type", "Content-Type must be application/json in UTF-8."));
        // The limit is kept here, not by the web server: that one would close the connection under a client that still sends.
        if (request.HttpContext.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
            size.MaxRequestBodySize = null;
        if (request.ContentLength > limits.MaxRequestBytes)
            return await RefuseAsync(request, TooLarge, cancellationToken);

        var bytes = new BodyBytes(Memory, request.ContentLength ?? 0);
        bool kept = false;
        try
        {
            if (await FillAsync(bytes, request.BodyReader, cancellationToken) is { } refusal)
            {
                bytes.Dispose(); // before the rest is read past
                return await RefuseAsync(request, refusal, cancellationToken);
            }

            await bytes.TakeTurnAsync(cancellationToken);
            RequestBody body = RequestBody.Parse(bytes);
            kept = true;
            return body;
        }
        catch (BadHttpRequestException bad) when (bad.StatusCode != StatusCodes.Status408RequestTimeout) // too slow is no fault of the JSON
        {
            return RequestBody.Refused(new ApiError(bad.StatusCode, "invalid_request_error", "invalid_json", "The body could not be read to its end."));
        }
        finally
        {
            if (!kept)
                bytes.Dispose();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Memory.Dispose();

    private ApiError TooLarge => new(413, "invalid_request_error", "request_too_large", $"The body is larger than {limits.MaxRequestBytes} bytes.");

    /// <summary>Why the body cannot be taken; null = all of it is there.</summary>
    private async Task<ApiError?> FillAsync(BodyBytes bytes, PipeReader body, CancellationToken cancellationToken)
    {
        while (true)
        {
            ReadResult read = await body.ReadAsync(cancellationToken);
            ApiError? refusal = bytes.Written.Length + read.Buffer.Length > limits.MaxRequestBytes ? TooLarge
                : bytes.TryAppend(read.Buffer) ? null
                : Admission.Overloaded(admission, "The server holds as many large request bodies as it may; try again later.");
            body.AdvanceTo(read.Buffer.End);
            if (refusal is not null || read.IsCompleted)
                return refusal;
        }
    }

    /// <summary>Refuses the body, after reading on for as much as one may have: most clients see an answer only when they have sent everything.</summary>
    private async Task<RequestBody> RefuseAsync(HttpRequest request, ApiError error, CancellationToken cancellationToken)
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
        return RequestBody.Refused(error);
    }

    private static bool IsJson(string? contentType) =>
        MediaTypeHeaderValue.TryParse(contentType, out MediaTypeHeaderValue? type)
        && type.MediaType.Equals("application/json", StringComparison.OrdinalIgnoreCase)
        && (!type.Charset.HasValue || type.Charset.Value.Trim('"').Equals("utf-8", StringComparison.OrdinalIgnoreCase));
}
