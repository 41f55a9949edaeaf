using InferenceService.Engine.Cache.Policies;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Output;

/// <summary>What every chunk and every body of one response share.</summary>
/// <param name="Id">Response id.</param>
/// <param name="Created">Unix seconds.</param>
/// <param name="Model">Name that the client used.</param>
/// <param name="Served">The model behind that name.</param>
/// <param name="Policy">The KV policy in force.</param>
internal sealed record AnswerHead(string Id, long Created, string Model, ServedModel Served, IKvPolicy Policy)
{
    /// <summary>Makes the head of a response that begins now.</summary>
    /// <param name="prefix"><c>cmpl-</c> or <c>chatcmpl-</c>.</param>
    /// <param name="request">The client's own id for the request, if it sent one, and the KV policy, if it chose one.</param>
    public static AnswerHead New(string prefix, GenerationFields request, string model, ServedModel served, TimeProvider time) => new(
        prefix + (request.RequestId ?? Guid.NewGuid().ToString("N")), time.GetUtcNow().ToUnixTimeSeconds(), model, served,
        request.ChosenPolicy ?? served.Policies.Default);

    /// <summary>Answers with equal ones come from the same computation.</summary>
    public string SystemFingerprint { get; } = Served.Fingerprint(Policy);
}
