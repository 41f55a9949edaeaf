namespace InferenceService.Server.Hosting.Pipeline;

/// <summary>When a request came: its headers were there, and its body may not have been.</summary>
internal sealed class RequestArrival
{
    private readonly long _timestamp;

    private RequestArrival(long timestamp) => _timestamp = timestamp;

    /// <summary>Notes it.</summary>
    /// <param name="http">The request.</param>
    /// <param name="timestamp">Monotonic (<see cref="TimeProvider.GetTimestamp"/>).</param>
    public static void Note(HttpContext http, long timestamp) => http.Features.Set(new RequestArrival(timestamp));

    /// <summary>Time since then; nothing where nobody noted it.</summary>
    public static TimeSpan Age(HttpContext http, TimeProvider time) =>
        http.Features.Get<RequestArrival>() is { } arrival ? time.GetElapsedTime(arrival._timestamp) : TimeSpan.Zero;
}
