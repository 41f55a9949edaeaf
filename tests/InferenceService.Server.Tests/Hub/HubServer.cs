using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace InferenceService.Server.Tests.Hub;

/// <summary>One request that the hub got.</summary>
internal sealed record HubRequest(int Port, string Path, string? Range, string? IfRange, string? Authorization);

/// <summary>
/// A hub in the test's own process: the two interfaces that a download uses, on one port, and a second port that plays the network which
/// large files are redirected to. A test can make the answers to one file go wrong, one after the other.
/// </summary>
internal sealed class HubServer : IAsyncDisposable
{
    public const string Commit = "0123456789abcdef0123456789abcdef01234567";
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, Queue<Func<HttpContext, byte[], Task>>> _faults = new();

    private HubServer()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Listen(IPAddress.Loopback, 0);
        });
        _app = builder.Build();
        _app.Run(AnswerAsync);
    }

    /// <summary>Files by name; the model of the tests unless a test changes them.</summary>
    public Dictionary<string, byte[]> Files { get; } = new()
    {
        ["README.md"] = "hello"u8.ToArray(),
        [".gitattributes"] = "x"u8.ToArray(),
        ["pytorch_model.bin"] = "a pickle"u8.ToArray(),
        ["modeling_evil.py"] = "print('no')"u8.ToArray(),
        ["consolidated.safetensors"] = "the same once more"u8.ToArray(),
        ["onnx/model.onnx"] = "another format"u8.ToArray(),
        ["additional_chat_templates/tool_use.jinja"] = "{{ messages }}"u8.ToArray(),
        ["chat_template.jinja"] = Encoding.UTF8.GetBytes(TinyModel.ChatTemplate),
    };

    /// <summary>Every request, in order.</summary>
    public ConcurrentQueue<HubRequest> Requests { get; } = new();

    /// <summary>The token that it asks for; null = it is open.</summary>
    public string? Token { get; set; }

    /// <summary>Whether the listing states sizes and checksums; otherwise only the tree does, on several pages.</summary>
    public bool KnowsBlobs { get; set; } = true;

    /// <summary>Weights are redirected to the second port.</summary>
    public bool RedirectsWeights { get; set; }

    /// <summary>Changes what the listing says.</summary>
    public Action<JsonObject> Edit { get; set; } = _ => { };

    /// <summary>The ETag of a file; its checksum unless a test changes it.</summary>
    public Func<string, string> TagOf { get; set; } = checksum => $"\"{checksum}\"";

    /// <summary>Where it listens.</summary>
    public string Endpoint => _app.Urls.First();

    /// <summary>Port of the endpoint.</summary>
    public int Port => new Uri(Endpoint).Port;

    /// <summary>Starts it with the files of <see cref="TinyModel"/>.</summary>
    public static async Task<HubServer> StartAsync()
    {
        var hub = new HubServer();
        foreach (string file in Directory.GetFiles(TinyModel.Folder))
            hub.Files[Path.GetFileName(file)] = await File.ReadAllBytesAsync(file);
        await hub._app.StartAsync();
        return hub;
    }

    /// <summary>Requests of one file, or of the interface (<c>api/</c>).</summary>
    public HubRequest[] Of(string ending) => [.. Requests.Where(request => request.Path.EndsWith(ending, StringComparison.Ordinal) || (ending == "api/" && request.Path.StartsWith("/api/", StringComparison.Ordinal)))];

    /// <summary>The next requests of this file are answered so, then it goes right.</summary>
    public void Fail(string file, params Func<HttpContext, byte[], Task>[] answers) => _faults[file] = new Queue<Func<HttpContext, byte[], Task>>(answers);

    /// <summary>Checksum as the hub states it: SHA-256 of weights, git's for the others.</summary>
    public static string ChecksumOf(string name, byte[] contents) => IsLarge(name)
        ? Convert.ToHexStringLower(SHA256.HashData(contents))
        : GitHash(contents);

    /// <summary>Answers with a status.</summary>
    public static Func<HttpContext, byte[], Task> Status(int status, string? retryAfter = null, string? code = null) => (context, _) =>
    {
        context.Response.StatusCode = status;
        if (retryAfter is not null)
            context.Response.Headers.RetryAfter = retryAfter;
        if (code is not null)
            context.Response.Headers["X-Error-Code"] = code;
        return Task.CompletedTask;
    };

    /// <summary>Sends so many bytes of what was asked for and breaks the connection.</summary>
    public Func<HttpContext, byte[], Task> BreakAfter(int bytes) => async (context, contents) =>
    {
        // Fewer bytes than announced: Kestrel sends them and closes the connection.
        int from = FromOf(context, contents);
        context.Response.ContentLength = contents.Length - from;
        await context.Response.Body.WriteAsync(contents.AsMemory(from, Math.Min(bytes, contents.Length - from)));
    };

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(new CancellationToken(canceled: true));
        await _app.DisposeAsync();
    }

    private static string GitHash(byte[] contents)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
        hash.AppendData(Encoding.ASCII.GetBytes($"blob {contents.Length}\0"));
        hash.AppendData(contents);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static bool IsLarge(string name) => name.EndsWith(".safetensors", StringComparison.Ordinal) || name.EndsWith(".bin", StringComparison.Ordinal);

    private async Task AnswerAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        string path = request.Path.Value!;
        string? authorization = request.Headers.Authorization.FirstOrDefault();
        int port = context.Connection.LocalPort;
        Requests.Enqueue(new HubRequest(port, path, request.Headers.Range.FirstOrDefault(), request.Headers.IfRange.FirstOrDefault(), authorization));
        if (port == Port && Token is not null && authorization != $"Bearer {Token}")
        {
            context.Response.StatusCode = 401;
            return;
        }

        string name = path.StartsWith("/api/", StringComparison.Ordinal) ? "api/" : path[(path.IndexOf(Commit, StringComparison.Ordinal) + Commit.Length + 1)..];
        byte[] contents = Files.GetValueOrDefault(name, []);
        if (port == Port && RedirectsWeights && IsLarge(name))
        {
            context.Response.Redirect(_app.Urls.Last() + path + "?signature=secret");
            return;
        }

        if (_faults.TryGetValue(name, out Queue<Func<HttpContext, byte[], Task>>? faults) && faults.TryDequeue(out Func<HttpContext, byte[], Task>? fault))
            await fault(context, contents);
        else if (name == "api/")
            await context.Response.WriteAsync(path.Contains("/tree/", StringComparison.Ordinal) ? Tree(context) : Listing());
        else
            await SendAsync(context, name, contents);
    }

    private string Listing()
    {
        var siblings = new JsonArray();
        foreach ((string name, byte[] contents) in Files)
        {
            var entry = new JsonObject { ["rfilename"] = name };
            if (KnowsBlobs)
            {
                (entry["size"], entry["blobId"]) = (contents.Length, ChecksumOf("", contents));
                if (IsLarge(name))
                    entry["lfs"] = new JsonObject { ["size"] = contents.Length, ["sha256"] = ChecksumOf(name, contents), ["pointerSize"] = 130 };
            }

            siblings.Add(entry);
        }

        var listing = new JsonObject { ["id"] = "org/tiny", ["sha"] = Commit, ["siblings"] = siblings };
        Edit(listing);
        return listing.ToJsonString();
    }

    private string Tree(HttpContext context)
    {
        int page = int.Parse(context.Request.Query["page"].FirstOrDefault() ?? "0", CultureInfo.InvariantCulture);
        var entries = new JsonArray(new JsonObject { ["type"] = "directory", ["oid"] = Commit, ["size"] = 0, ["path"] = "onnx" });
        foreach ((string name, byte[] contents) in Files.Skip(page * 3).Take(3))
        {
            var entry = new JsonObject { ["type"] = "file", ["oid"] = ChecksumOf("", contents), ["size"] = contents.Length, ["path"] = name };
            if (IsLarge(name))
                entry["lfs"] = new JsonObject { ["oid"] = ChecksumOf(name, contents), ["size"] = contents.Length, ["pointerSize"] = 130 };
            entries.Add(entry);
        }

        if ((page + 1) * 3 < Files.Count)
            context.Response.Headers.Link = $"<{Endpoint}{context.Request.Path}?recursive=true&page={page + 1}>; rel=\"next\"";
        return entries.ToJsonString();
    }

    private async Task SendAsync(HttpContext context, string name, byte[] contents)
    {
        if (!Files.ContainsKey(name))
        {
            context.Response.StatusCode = 404;
            return;
        }

        context.Response.Headers.ETag = TagOf(ChecksumOf(name, contents));
        int from = FromOf(context, contents);
        context.Response.ContentLength = contents.Length - from;
        await context.Response.Body.WriteAsync(contents.AsMemory(from));
    }

    // Sets the head of a partial answer where one is due.
    private int FromOf(HttpContext context, byte[] contents)
    {
        HttpRequest request = context.Request;
        string tag = TagOf(ChecksumOf(Path.GetFileName(request.Path.Value!), contents));
        context.Response.Headers.ETag = tag;
        string? range = request.Headers.Range.FirstOrDefault();
        if (range is null || (request.Headers.IfRange.FirstOrDefault() is { } condition && condition != tag))
            return 0;
        int from = int.Parse(range["bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture);
        context.Response.StatusCode = 206;
        context.Response.Headers.ContentRange = $"bytes {from}-{contents.Length - 1}/{contents.Length}";
        return from;
    }
}
