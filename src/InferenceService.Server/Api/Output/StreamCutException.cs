namespace InferenceService.Server.Api.Output;

/// <summary>
/// Thrown after an error event has been written into a stream. Letting it reach the web server makes that send what was
/// written and then close the connection without the final chunk (HTTP/1.1) or reset the stream (HTTP/2), so that no client
/// takes the part for the whole. <see cref="HttpContext.Abort"/> would not do: it drops bytes that are still on their way.
/// </summary>
internal sealed class StreamCutException(ApiError error) : Exception($"The stream was cut after an error event: {error.Code}.");
