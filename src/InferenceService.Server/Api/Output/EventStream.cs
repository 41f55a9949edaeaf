using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text.Json;
using InferenceService.Server.Configuration;
using Microsoft.AspNetCore.Http.Features;

namespace InferenceService.Server.Api.Output;

/// <summary>A response of server-sent events: one JSON document a line, comments as heartbeats, one writer reused for all.</summary>
/// <remarks>Events are buffered until <see cref="FlushAsync"/>. One caller at a time.</remarks>
internal sealed class EventStream : IDisposable
{
    private readonly HttpContext _http;
    private readonly StreamingOptions _options;
    private readonly TimeProvider _time;
    private readonly PipeWriter _body;
    private readonly Utf8JsonWriter _json;

    public EventStream(HttpContext http, StreamingOptions options, TimeProvider time)
    {
        (_http, _options, _time) = (http, options, time);
        _body = http.Response.BodyWriter;
        _json = new Utf8JsonWriter(_body, OpenAiJson.WriterOptions);
        LastFlush = time.GetTimestamp();
    }

    /// <summary>Status and headers are decided; an error can only be an event now.</summary>
    public bool Started { get; private set; }

    /// <summary>The client did not take the last flush at once: what comes next should be few large events.</summary>
    public bool ClientIsSlow { get; private set; }

    /// <summary>Monotonic time of the last flush.</summary>
    public long LastFlush { get; private set; }

    /// <summary>Sets status and headers. Idempotent.</summary>
    public void Start()
    {
        if (Started)
            return;
        Started = true;
        HttpResponse response = _http.Response;
        response.StatusCode = StatusCodes.Status200OK;
        response.ContentType = "text/event-stream; charset=utf-8";
        response.Headers.CacheControl = "no-cache";
        response.Headers["X-Accel-Buffering"] = "no";
        _http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
    }

    /// <summary>Begins an event; the caller writes one JSON document and calls <see cref="End"/>.</summary>
    public Utf8JsonWriter Begin()
    {
        Start();
        _body.Write("data: "u8);
        _json.Reset();
        return _json;
    }

    /// <summary>Ends the event.</summary>
    public void End()
    {
        _json.Flush();
        _body.Write("\n\n"u8);
    }

    /// <summary>Writes an event that is JSON already.</summary>
    public void Write(ReadOnlySpan<byte> document)
    {
        Start();
        _body.Write("data: "u8);
        _body.Write(document);
        _body.Write("\n\n"u8);
    }

    /// <summary>Writes the end mark.</summary>
    public void Done() => Write("[DONE]"u8);

    /// <summary>Writes a heartbeat, which clients ignore.</summary>
    public void Ping()
    {
        Start();
        _body.Write(": ping\n\n"u8);
    }

    /// <summary>Sends what was written. False: the client has gone, or took nothing for <see cref="StreamingOptions.SlowClientTimeout"/> and was cut off.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> FlushAsync()
    {
        ValueTask<FlushResult> flush = _body.FlushAsync(_http.RequestAborted);
        ClientIsSlow = !flush.IsCompleted;
        try
        {
            FlushResult result = ClientIsSlow ? await flush.AsTask().WaitAsync(_options.SlowClientTimeout, _time) : await flush;
            LastFlush = _time.GetTimestamp();
            return !result.IsCompleted && !_http.RequestAborted.IsCancellationRequested;
        }
        catch (TimeoutException)
        {
            _http.Abort();
            return false;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _json.Dispose();
}
