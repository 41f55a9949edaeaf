using System.Net;
using System.Net.Http.Headers;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>How a request of a soak ended for its client.</summary>
internal enum SoakEnd
{
    /// <summary>With its whole answer.</summary>
    Answered,

    /// <summary>With a proper "not now".</summary>
    Refused,

    /// <summary>The client left first.</summary>
    Left,

    /// <summary>With the error that its mistake deserves.</summary>
    Corrected,

    /// <summary>In any other way: a lost or a wrong answer.</summary>
    Wrong,
}

/// <summary>How a request ended.</summary>
/// <param name="End">In which way.</param>
/// <param name="Text">The answer's text, or what was wrong.</param>
internal readonly record struct SoakOutcome(SoakEnd End, string? Text);

/// <summary>Sends the requests of a soak and judges their answers.</summary>
internal sealed class SoakClient(HttpClient http)
{
    /// <summary>Sends one and sees it to its end.</summary>
    public async Task<SoakOutcome> RunAsync(SoakRequest request, CancellationToken cancellation)
    {
        if (request.Mistake is { } mistake)
            return await CorrectAsync(mistake, cancellation);
        if (request.Kind != SoakKind.Leave)
            return await AskAsync(request, request.Stream, leave: null, cancellation);
        using var leave = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        if (request.LeaveAfterEvents is null)
            leave.CancelAfter(request.LeaveAfter);
        try
        {
            return await AskAsync(request, request.Stream, leave, leave.Token);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return new SoakOutcome(SoakEnd.Left, null);
        }
    }

    /// <summary>Asks for the same as a whole answer.</summary>
    public Task<SoakOutcome> RepeatAsync(SoakRequest request, CancellationToken cancellation) => AskAsync(request, stream: false, leave: null, cancellation);

    private async Task<SoakOutcome> AskAsync(SoakRequest request, bool stream, CancellationTokenSource? leave, CancellationToken cancellation)
    {
        try
        {
            using HttpRequestMessage message = Message(request.Path, request.Body(stream), "application/json");
            using HttpResponseMessage response = await http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellation);
            if (response.StatusCode != HttpStatusCode.OK)
            {
                ErrorBody error = await ErrorBody.ReadAsync(response, cancellation);
                return error.IsNotNow && error.Fault is null
                    ? new SoakOutcome(SoakEnd.Refused, null)
                    : Wrong($"status {error.Status} {error.Code} {error.Fault}");
            }

            var answer = new AnswerReading(request.Choices);
            if (stream)
                await ReadEventsAsync(response, answer, request.LeaveAfterEvents, leave, cancellation);
            else
                answer.Whole(await response.Content.ReadAsStringAsync(cancellation));
            answer.End();
            return answer.Fault is null ? new SoakOutcome(SoakEnd.Answered, answer.Text) : Wrong(answer.Fault);
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException)
        {
            // A client that leaves may see its own cut as a broken connection.
            cancellation.ThrowIfCancellationRequested();
            return Wrong($"broken connection: {exception.Message}");
        }
    }

    private static async Task ReadEventsAsync(
        HttpResponseMessage response, AnswerReading answer, int? leaveAfter, CancellationTokenSource? leave, CancellationToken cancellation)
    {
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(cancellation));
        while (await reader.ReadLineAsync(cancellation) is { } line)
        {
            if (line.StartsWith("data: ", StringComparison.Ordinal))
                answer.Event(line["data: ".Length..]);
            if (leave is not null && answer.Events >= leaveAfter)
                await leave.CancelAsync();
            cancellation.ThrowIfCancellationRequested();
        }
    }

    private async Task<SoakOutcome> CorrectAsync(InvalidRequest mistake, CancellationToken cancellation)
    {
        try
        {
            using HttpRequestMessage message = Message(mistake.Path, mistake.Body, mistake.MediaType);
            using HttpResponseMessage response = await http.SendAsync(message, cancellation);
            ErrorBody error = await ErrorBody.ReadAsync(response, cancellation);
            bool isRight = error.Fault is null && error.Status == mistake.Status && error.Code == mistake.Code;
            return isRight
                ? new SoakOutcome(SoakEnd.Corrected, null)
                : Wrong($"{mistake.Path} should get {mistake.Status} {mistake.Code}, got {error.Status} {error.Code} {error.Fault}");
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException)
        {
            return Wrong($"broken connection: {exception.Message}");
        }
    }

    private static SoakOutcome Wrong(string what) => new(SoakEnd.Wrong, what);

    private static HttpRequestMessage Message(string path, byte[]? body, string mediaType)
    {
        if (body is null)
            return new HttpRequestMessage(HttpMethod.Get, path);
        var content = new ByteArrayContent(body);
        content.Headers.ContentType = new MediaTypeHeaderValue(mediaType);
        return new HttpRequestMessage(HttpMethod.Post, path) { Content = content };
    }
}
