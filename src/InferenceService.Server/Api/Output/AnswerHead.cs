using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Output;

/// <summary>What every chunk and every body of one response share.</summary>
/// <param name="Id">Response id.</param>
/// <param name="Created">Unix seconds.</param>
/// <param name="Model">Name that the client used.</param>
/// <param name="Served">The model behind that name.</param>
internal sealed record AnswerHead(string Id, long Created, string Model, ServedModel Served)
{
    /// <summary>Makes the head of a response that begins now.</summary>
    /// <param name="prefix"><c>cmpl-</c> or <c>chatcmpl-</c>.</param>
    /// <param name="requestId">The client's own id for the request, if it sent one.</param>
    public static AnswerHead New(string prefix, string? requestId, string model, ServedModel served, TimeProvider time) =>
        new(prefix + (requestId ?? Guid.NewGuid().ToString("N")), time.GetUtcNow().ToUnixTimeSeconds(), model, served);
}
