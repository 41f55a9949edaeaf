using InferenceService.Server.Api;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>Gives every failure the API's shape: exceptions, and the framework's empty answers (404, 405, 413, 415 and the like).</summary>
internal sealed partial class ErrorShape(RequestDelegate next, LimitOptions limits, ILogger<ErrorShape> logger)
{
    private const int ClientClosedRequest = 499;
    private const string Invalid = "invalid_request_error";

    /// <summary>Runs the request and replaces its failure.</summary>
    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context);
        }
        catch (StreamCutException)
        {
            // The error is in the stream already; the web server closes the connection, see the exception's remarks.
            throw;
        }
        catch (Exception exception)
        {
            await AnswerAsync(context, exception);
            return;
        }

        HttpResponse response = context.Response;
        if (!response.HasStarted && context.RequestAborted.IsCancellationRequested)
            response.StatusCode = ClientClosedRequest;
        else if (!response.HasStarted && response.StatusCode >= 400 && response.ContentType is null && response.ContentLength is null or 0)
            await OpenAiError.WriteAsync(context, ForStatus(response.StatusCode));
    }

    private async Task AnswerAsync(HttpContext context, Exception exception)
    {
        if (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody listens any more; the status is for logs and metrics only. What is not the leaving itself is a mistake of ours all the same.
            if (exception is not (OperationCanceledException or IOException))
                LogUnhandled(logger, exception, context.TraceIdentifier);
            if (!context.Response.HasStarted)
                context.Response.StatusCode = ClientClosedRequest;
            return;
        }

        ApiError error = exception is BadHttpRequestException bad ? ForBadRequest(bad) : InternalError;
        if (exception is not BadHttpRequestException)
            LogUnhandled(logger, exception, context.TraceIdentifier);
        if (context.Response.HasStarted)
        {
            // Half an answer must not look like a whole one.
            context.Abort();
            return;
        }

        context.Response.Headers.Remove("Content-Encoding");
        await OpenAiError.WriteAsync(context, error);
    }

    private static ApiError InternalError =>
        new(500, "server_error", "internal_error", "The server failed to handle the request.") { ShouldRetry = false };

    private ApiError ForBadRequest(BadHttpRequestException exception) => exception switch
    {
        { StatusCode: 413 } => ForStatus(413),
        { StatusCode: 415 } => ForStatus(415),
        { StatusCode: 408 } => new ApiError(408, "timeout_error", "request_timeout", "The request body arrived too slowly."),
        _ => new ApiError(exception.StatusCode, Invalid, "invalid_request", "The request is not valid HTTP for this route."),
    };

    private ApiError ForStatus(int status) => status switch
    {
        401 => new ApiError(401, Invalid, "invalid_api_key", "The API key is missing or not valid."),
        403 => new ApiError(403, "permission_error", "insufficient_permissions", "The API key does not cover this route."),
        404 => new ApiError(404, Invalid, "not_found", "There is nothing at this path."),
        405 => new ApiError(405, Invalid, "method_not_allowed", "The path exists, but not for this method; see the Allow header."),
        413 => new ApiError(413, Invalid, "request_too_large", $"The request body is larger than {limits.MaxRequestBytes} bytes."),
        415 => new ApiError(415, Invalid, "unsupported_media_type", "The request body must be sent as Content-Type: application/json."),
        >= 500 => new ApiError(status, "server_error", "internal_error", "The server failed to handle the request."),
        _ => new ApiError(status, Invalid, "invalid_request", $"The request was refused with status {status}."),
    };

    [LoggerMessage(Level = LogLevel.Error, Message = "Request {RequestId} failed")]
    private static partial void LogUnhandled(ILogger logger, Exception exception, string requestId);
}
