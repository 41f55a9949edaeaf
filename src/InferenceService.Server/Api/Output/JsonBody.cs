using System.Buffers;

namespace InferenceService.Server.Api.Output;

/// <summary>A complete JSON body with its length.</summary>
internal static class JsonBody
{
    /// <summary>Sends it with status 200.</summary>
    public static Task WriteAsync(HttpContext http, ArrayBufferWriter<byte> body)
    {
        http.Response.ContentType = "application/json";
        http.Response.ContentLength = body.WrittenCount;
        return http.Response.Body.WriteAsync(body.WrittenMemory, http.RequestAborted).AsTask();
    }
}
