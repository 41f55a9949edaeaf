using System.Collections.Concurrent;
using System.Security.Cryptography;
using InferenceService.Server.Api;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Security;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Generation;

/// <summary>The requests that the engines have taken and that have not been answered to the end: for whoever operates the server. Any thread.</summary>
internal sealed class ActiveRequests
{
    private readonly ConcurrentDictionary<string, ActiveRequest> _all = new(StringComparer.Ordinal);

    /// <summary>What a client is told whose request an operator ended.</summary>
    public static ApiError EndedByOperator { get; } =
        new(503, "unavailable_error", "request_cancelled", "The request was ended by the server's operator.") { ShouldRetry = false };

    /// <summary>Everything under way, the oldest first.</summary>
    public IEnumerable<ActiveRequest> All => _all.Values.OrderBy(request => request.Arrived);

    /// <summary>Lists a request until the result is disposed.</summary>
    public IDisposable Add(HttpContext http, AnswerKind kind, AnswerHead head, GenerationOrder order, TextGeneration generation, bool stream)
    {
        var request = new ActiveRequest(
            // Made here: ids that clients choose could be those of others.
            RandomNumberGenerator.GetHexString(16, lowercase: true), http.TraceIdentifier, kind.Operation, head.Served.Names[0], ApiKey.Of(http)?.Name, head.Policy.Name, stream, order, generation);
        _all[request.Id] = request;
        return new Listed(this, request.Id);
    }

    /// <summary>Ends a request; false: there is none of that id, or not any more.</summary>
    public bool TryEnd(string id)
    {
        if (!_all.TryGetValue(id, out ActiveRequest? request))
            return false;
        request.Generation.Cancel(EndedByOperator);
        return true;
    }

    private sealed class Listed(ActiveRequests owner, string id) : IDisposable
    {
        public void Dispose() => owner._all.TryRemove(id, out _);
    }
}

/// <summary>A request under way. Nothing of its text.</summary>
/// <param name="Id">Made by the server, unlike <paramref name="RequestId"/>.</param>
/// <param name="RequestId">Value of <c>x-request-id</c>.</param>
/// <param name="Operation">What was asked for.</param>
/// <param name="Model">Canonical name of the model.</param>
/// <param name="Key">Name of the key; null = none was asked for.</param>
/// <param name="Policy">KV policy.</param>
/// <param name="Stream">Streamed.</param>
/// <param name="Order">What the engine was asked.</param>
/// <param name="Generation">The way back.</param>
internal sealed record ActiveRequest(
    string Id, string RequestId, string Operation, string Model, string? Key, string Policy, bool Stream, GenerationOrder Order, TextGeneration Generation)
{
    /// <summary>When the engine took it: monotonic.</summary>
    public long Arrived => Generation.Streams[0].Times.Arrived;

    /// <summary>waiting, prefill or decode.</summary>
    public string State => Generation.Phase switch
    {
        DisconnectPhase.Queue => "waiting",
        DisconnectPhase.Prefill => "prefill",
        _ => "decode",
    };
}
