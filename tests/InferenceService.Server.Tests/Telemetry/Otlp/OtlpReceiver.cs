using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceService.Server.Tests.Telemetry.Otlp;

internal sealed record OtlpSpan(
    string TraceId, string SpanId, string ParentId, string Name, int Kind, ulong Start, ulong End, Dictionary<string, object?> Attributes, int Status,
    string State, string Scope, Dictionary<string, object?> Resource);

internal sealed record OtlpMetric(string Name, string Unit, string Scope, Dictionary<string, object?> Attributes, long Count, double Sum, double[] Bounds);

internal sealed record OtlpLog(string TraceId, string SpanId, string Body, int Severity, Dictionary<string, object?> Attributes, string Scope);

/// <summary>A collector: receives OTLP over HTTP and over gRPC on sockets of its own and keeps what came.</summary>
/// <remarks>Field numbers: github.com/open-telemetry/opentelemetry-proto, opentelemetry/proto/{trace,metrics,logs}/v1.</remarks>
internal sealed class OtlpReceiver : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentQueue<byte[]> _bodies = [];
    private readonly ConcurrentQueue<OtlpSpan> _spans = [];
    private readonly ConcurrentQueue<OtlpMetric> _metrics = [];
    private readonly ConcurrentQueue<OtlpLog> _logs = [];
    private readonly ConcurrentQueue<Exception> _faults = [];
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private OtlpReceiver(bool holds)
    {
        if (!holds)
            _released.SetResult();
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http1);
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddRoutingCore();
        _app = builder.Build();
        _app.UseRouting();
        _app.MapPost("/v1/{signal}", (HttpContext http, string signal) => ReceiveAsync(http, signal));
        foreach (string signal in (string[])["trace", "metrics", "logs"])
        {
            string service = char.ToUpperInvariant(signal[0]) + signal[1..] + "Service";
            _app.MapPost($"/opentelemetry.proto.collector.{signal}.v1.{service}/Export", (HttpContext http) => ReceiveAsync(http, signal == "trace" ? "traces" : signal));
        }
    }

    /// <summary>Listens, and answers at once; or, when it holds, only after <see cref="Release"/>.</summary>
    public static async Task<OtlpReceiver> StartAsync(bool holds = false)
    {
        var receiver = new OtlpReceiver(holds);
        await receiver._app.StartAsync();
        return receiver;
    }

    /// <summary>Address for <c>http/protobuf</c>.</summary>
    public string Http => _app.Urls.First();

    /// <summary>Address for <c>grpc</c>.</summary>
    public string Grpc => _app.Urls.Last();

    public IReadOnlyCollection<OtlpSpan> Spans => NoFault(_spans);

    public IReadOnlyCollection<OtlpMetric> Metrics => NoFault(_metrics);

    public IReadOnlyCollection<OtlpLog> Logs => NoFault(_logs);

    /// <summary>Header of the last request.</summary>
    public string? Authorization { get; private set; }

    /// <summary>Requests that came, answered or not.</summary>
    public int Calls { get; private set; }

    public void Release() => _released.TrySetResult();

    /// <summary>Some body holds this text.</summary>
    public bool Saw(string text) => _bodies.Any(body => body.AsSpan().IndexOf(Encoding.UTF8.GetBytes(text)) >= 0);

    public async ValueTask DisposeAsync()
    {
        Release();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private ConcurrentQueue<T> NoFault<T>(ConcurrentQueue<T> received)
    {
        Assert.Empty(_faults);
        return received;
    }

    private async Task ReceiveAsync(HttpContext http, string signal)
    {
        Calls++;
        await _released.Task;
        Authorization = http.Request.Headers.Authorization;
        using var memory = new MemoryStream();
        await http.Request.Body.CopyToAsync(memory);
        byte[] body = memory.ToArray();
        bool grpc = http.Request.ContentType == "application/grpc";
        try
        {
            // A gRPC message has a flag and its length before it: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
            if (grpc)
                body = body.AsSpan(5, BinaryPrimitives.ReadInt32BigEndian(body.AsSpan(1))).ToArray();
            _bodies.Enqueue(body);
            foreach (ProtoMessage resource in ProtoMessage.Parse(body).Messages(1))
                Keep(signal, resource);
        }
        catch (Exception fault) when (fault is FormatException or ArgumentException)
        {
            _faults.Enqueue(fault);
        }

        http.Response.ContentType = grpc ? "application/grpc" : "application/x-protobuf";
        if (!grpc)
            return;
        await http.Response.Body.WriteAsync(new byte[5]);
        http.Response.AppendTrailer("grpc-status", "0");
    }

    private void Keep(string signal, ProtoMessage resource)
    {
        Dictionary<string, object?> attributes = resource.Message(1)!.Attributes(1);
        foreach (ProtoMessage scope in resource.Messages(2))
        {
            string name = scope.Message(1)?.Text(1) ?? "";
            foreach (ProtoMessage item in scope.Messages(2))
            {
                if (signal == "traces")
                    _spans.Enqueue(Span(item, name, attributes));
                else if (signal == "logs")
                    _logs.Enqueue(Log(item, name));
                else
                    KeepMetric(item, name);
            }
        }
    }

    private static OtlpSpan Span(ProtoMessage span, string scope, Dictionary<string, object?> resource) => new(
        span.Hex(1), span.Hex(2), span.Hex(4), span.Text(5), (int)span.Number(6), span.Number(7), span.Number(8), span.Attributes(9),
        (int)(span.Message(15)?.Number(3) ?? 0), span.Text(3), scope, resource);

    private static OtlpLog Log(ProtoMessage log, string scope) =>
        new(log.Hex(9), log.Hex(10), ProtoMessage.Value(log.Message(5)) as string ?? "", (int)log.Number(2), log.Attributes(6), scope);

    private void KeepMetric(ProtoMessage metric, string scope)
    {
        (string name, string unit) = (metric.Text(1), metric.Text(3));
        foreach (ProtoMessage point in metric.Message(9)?.Messages(1) ?? [])
            _metrics.Enqueue(new OtlpMetric(name, unit, scope, point.Attributes(9), (long)point.Number(4), point.Real(5), point.Reals(7)));
        foreach (ProtoMessage point in (metric.Message(5) ?? metric.Message(7))?.Messages(1) ?? [])
            _metrics.Enqueue(new OtlpMetric(name, unit, scope, point.Attributes(7), 0, point.Has(4) ? point.Real(4) : (long)point.Number(6), []));
    }
}
