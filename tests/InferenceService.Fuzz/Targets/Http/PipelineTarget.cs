using System.Text;
using System.Text.Json;
using InferenceService.Fuzz.Loop;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>
/// Request line, headers and body through the whole pipeline of a server with keys: without a key's exact text in a header nothing but
/// open routes answers, and every answer has its id.
/// </summary>
internal sealed class PipelineTarget : FuzzTarget
{
    private const string Key = "sk-fuzz-inference-0123456789", MetricsKey = "sk-fuzz-metrics-0123456789", AdminKey = "sk-fuzz-admin-0123456789";
    private static readonly string[] Keys = [Key, MetricsKey, AdminKey];

    /// <summary>Routes that need no key, by the first part of their path.</summary>
    private static readonly string[] Open = ["health", "healthz", "livez", "readyz", "live", "ready", "ping", "version", "", "startupz", "started"];

    private readonly bool _admin;
    private readonly ServerHarness _server;
    private readonly RequestDelegate _pipeline;
    private readonly string _keyFile;

    /// <param name="admin">The admin port's pipeline, where no route is open and what browsers send is refused first.</param>
    public PipelineTarget(bool admin)
    {
        _admin = admin;
        _keyFile = Path.GetTempFileName();
        File.WriteAllText(_keyFile, $"{Key} inference\n{MetricsKey} metrics\n{AdminKey} admin\n");
        _server = new ServerHarness(strict: true, "--api-key-file", _keyFile, "--admin-port", "0");
        _pipeline = admin ? _server.AdminPipeline() : _server.Pipeline;
    }

    public override string Name => _admin ? "admin" : "pipeline";

    public override InputShape Shape => InputShape.Text;

    public override int MaxBytes => 1024;

    public override IReadOnlyList<string> Words =>
    [
        "GET ", "POST ", "HEAD ", "OPTIONS ", "DELETE ", "/v1/models", "/v1/models/tiny", "/tokenize", "/detokenize", "/v1/chat/completions", "/v1/chat/completions/render", "/v1/completions", "/v1/responses", "/health", "/readyz", "/metrics",
        "/load", "/version", "/openapi.json", "/docs", "/", "?", "%2F", "%00", "..", "//", "Authorization: ", "authorization: Bearer ", "Basic ", "Bearer", "api-key: ", "x-api-key: ", .. Keys, "PUT ", "/admin/status", "/admin/requests", "/admin/requests/x", "/admin/resume", "/admin/cache/reset", "/admin/kv-policies", "/admin/models/tiny/kv-policy", "/admin/config", "/admin/log-level", "{\"level\":\"Debug\"}", "Sec-Fetch-Site: cross-site", "x-request-id: ", "traceparent: ",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: ", "baggage: ", "Accept: ", "Accept-Encoding: gzip", "Range: bytes=0-1", "If-None-Match: *", "Origin: http://x", "Access-Control-Request-Method: POST",
        "X-Forwarded-For: 1", "Host: x", "Expect: 100-continue", "Transfer-Encoding: chunked", "x-inference-kv-policy: ", "x-inference-timeout-ms: ", "Content-Type: ", "application/json", "; charset=utf-8", "Content-Encoding: ", "gzip", "{\"prompt\":\"x\"}",
    ];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Encoding.UTF8.GetBytes($"PUT /admin/models/tiny/kv-policy\nAuthorization: Bearer {AdminKey}\n\0{{\"name\":\"streaming-llm\",\"recent_tokens\":64}}");
        yield return Encoding.UTF8.GetBytes($"PUT /admin/log-level\nAuthorization: Bearer {AdminKey}\n\0{{\"level\":\"None\",\"category\":\"Default\"}}");
        yield return Encoding.UTF8.GetBytes($"DELETE /admin/requests/x\nAuthorization: Bearer {AdminKey}\n");
        yield return Encoding.UTF8.GetBytes($"GET /admin/config\nAuthorization: Bearer {AdminKey}\n");
        yield return Encoding.UTF8.GetBytes($"POST /admin/cache/reset\nAuthorization: Bearer {AdminKey}\n\0{{}}");
        yield return Encoding.UTF8.GetBytes($"GET /v1/models\nAuthorization: Bearer {Key}\nx-request-id: abc-1\n");
        yield return Encoding.UTF8.GetBytes($"POST /tokenize\napi-key: {Key}\nContent-Type: application/json; charset=\"utf-8\"\n\0{{\"prompt\":\"x\"}}");
        yield return Encoding.UTF8.GetBytes($"POST /v1/chat/completions/render\nx-api-key: {Key}\n\0{{\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]}}");
        yield return Encoding.UTF8.GetBytes($"GET /metrics\nAuthorization: bearer {MetricsKey}\n");
        yield return Encoding.UTF8.GetBytes("GET /health\n");
        yield return Encoding.UTF8.GetBytes("GET /openapi.json\nAccept-Encoding: gzip\nRange: bytes=0-10\n");
        yield return Encoding.UTF8.GetBytes("OPTIONS /v1/models\nOrigin: http://x\nAccess-Control-Request-Method: GET\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n");
        yield return Encoding.UTF8.GetBytes("POST /v1/completions\nAuthorization: Basic Og==\n\0{}");
    }

    public override long MaxAllocated(int length) => (4 << 20) + (4096L * length);

    public override long MaxWork(int length) => 500_000 + (2_000L * length);

    public override bool Run(byte[] input)
    {
        int end = Array.IndexOf(input, (byte)'\n');
        string line = Encoding.UTF8.GetString(end < 0 ? input : input[..end]);
        HttpContext http = _server.Request(end < 0 ? [0] : Array.IndexOf(input, (byte)0) < 0 ? [.. input[(end + 1)..], 0] : input[(end + 1)..]);
        if (!TryAim(http, line))
            return false;
        Task run = _pipeline(http);
        if (!run.IsCompleted)
            run.Wait(CancellationToken.None);
        run.GetAwaiter().GetResult();
        Check(http);
        return http.Response.StatusCode < 400;
    }

    protected override void Dispose(bool disposing)
    {
        _server.Dispose();
        File.Delete(_keyFile);
        base.Dispose(disposing);
    }

    /// <summary>Sets method and target as the web server would have; false for what it refuses itself.</summary>
    private static bool TryAim(HttpContext http, string line)
    {
        int space = line.IndexOf(' ', StringComparison.Ordinal);
        string target = space < 0 ? "" : line[(space + 1)..].Trim();
        if (space <= 0 || !line.AsSpan(0, space).ContainsAnyExceptInRange('A', 'Z').Equals(false) || !target.StartsWith('/') || target.Any(c => char.IsControl(c) || c > '\x7e' || c == ' '))
            return false;
        int query = target.IndexOf('?', StringComparison.Ordinal);
        string path = query < 0 ? target : target[..query];
        http.Request.Method = line[..space];
        http.Request.Scheme = "http";
        http.Request.Host = new HostString("localhost");
        http.Request.Path = new PathString(Uri.UnescapeDataString(path));
        http.Request.QueryString = new QueryString(query < 0 ? "" : target[query..]);
        if (path.Contains("drain", StringComparison.OrdinalIgnoreCase))
            return false; // nothing would be answered after it
        bool generates = path.Contains("completions", StringComparison.OrdinalIgnoreCase) && !path.Contains("render", StringComparison.OrdinalIgnoreCase);
        if (generates)
            http.Request.Body = new MemoryStream("{"u8.ToArray()); // another target reads what the engine would get
        return true;
    }

    private void Check(HttpContext http)
    {
        int status = http.Response.StatusCode;
        AnswerRules.Check(http, HttpMethods.IsHead(http.Request.Method) ? NoBody : _server.Answer, out _);
        Require(http.Response.Headers["x-request-id"].ToString() is { Length: > 0 and <= 128 } id && !id.Any(char.IsControl), "an answer without an id of its own");
        bool showsKey = http.Request.Headers.Any(header => header.Value.Any(value => value is not null && Keys.Any(key => value.Contains(key, StringComparison.Ordinal))));
        if (_admin)
        {
            // No page may ask first here, so that OPTIONS is a method like another; without a key it only learns that there is nothing for it.
            Require(showsKey || status is 401 or 403 || (HttpMethods.IsOptions(http.Request.Method) && status is 404 or 405), $"status {status} without a key");
            return;
        }

        if (showsKey || HttpMethods.IsOptions(http.Request.Method) || Open.Contains((http.Request.Path.Value ?? "").Trim('/').Split('/')[0], StringComparer.OrdinalIgnoreCase))
            return;
        Require(status == 401, $"status {status} without a key");
    }

    /// <summary>Stands for the body that an answer to HEAD leaves out.</summary>
    private static readonly byte[] NoBody = JsonSerializer.SerializeToUtf8Bytes(new { error = new { message = "m", type = "t", code = "c", param = (string?)null } });
}
