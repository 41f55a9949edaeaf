using System.Globalization;
using System.Net.Http.Headers;
using InferenceService.Models;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Hub;

/// <summary>Speaks HTTP with a hub: one attempt a call. The token goes to the endpoint and nowhere else, whatever it redirects to.</summary>
internal sealed class HubClient : IDisposable
{
    private const int MaxRedirects = 8;
    private const int MaxListingBytes = 64 << 20;
    private const int MaxPages = 100;
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(20);
    private readonly HubSettings _settings;
    private readonly TimeProvider _time;
    private readonly string? _token;
    private readonly HttpClient _client;

    /// <summary>Reads the token; connects to nothing yet.</summary>
    /// <exception cref="CheckpointException">The token cannot be used.</exception>
    public HubClient(HubSettings settings, TimeProvider time)
        : this(settings, time, new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, ConnectTimeout = ConnectTimeout })
    {
    }

    /// <summary>Speaks through a handler, which it then owns and which follows no redirect.</summary>
    /// <exception cref="CheckpointException">The token cannot be used.</exception>
    internal HubClient(HubSettings settings, TimeProvider time, HttpMessageHandler handler)
    {
        (_settings, _time, _token) = (settings, time, settings.ReadToken());
        _client = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        _client.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("InferenceService", ServerVersion.Text));
        // Ranges and sizes count the bytes as stored.
        _client.DefaultRequestHeaders.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));
    }

    /// <summary>What the hub has of a revision.</summary>
    /// <exception cref="HubTransientException">Another attempt may succeed.</exception>
    /// <exception cref="CheckpointException">None will.</exception>
    public async Task<HubListing> ListAsync(HubModelId id, CancellationToken cancellationToken)
    {
        Uri address = At($"api/models/{id.Repository}/revision/{Uri.EscapeDataString(id.Revision)}?blobs=true");
        HubListing listing;
        bool complete;
        using (HttpResponseMessage answer = await GetAsync(id, address, null, cancellationToken))
            listing = HubListingJson.ReadRevision(await ReadAsync(answer, cancellationToken), out complete);
        return complete ? listing : listing with { Files = await ListTreeAsync(id, listing.Commit, cancellationToken) };
    }

    /// <summary>Begins to read a file.</summary>
    /// <param name="range">Where to begin, and the validator of what is there; null = all of it.</param>
    /// <returns>An answer of 200, 206 or 416, whose body has not been read.</returns>
    /// <exception cref="HubTransientException">Another attempt may succeed.</exception>
    /// <exception cref="CheckpointException">None will.</exception>
    public Task<HttpResponseMessage> OpenAsync(HubModelId id, string commit, HubFile file, ByteRange? range, CancellationToken cancellationToken)
    {
        string name = string.Join('/', file.Name.Split('/').Select(Uri.EscapeDataString));
        return GetAsync(id, At($"{id.Repository}/resolve/{commit}/{name}"), range, cancellationToken);
    }

    /// <summary>Reads the next bytes of a body, waiting only so long for them.</summary>
    /// <exception cref="HubTransientException">The connection broke or brings nothing.</exception>
    public async ValueTask<int> ReadAsync(Stream body, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        using var idle = new CancellationTokenSource(_settings.IdleTimeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(idle.Token, cancellationToken);
        try
        {
            return await body.ReadAsync(buffer, either.Token);
        }
        catch (Exception exception) when (Transient(exception, body, cancellationToken) is { } transient)
        {
            throw transient;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    private async Task<List<HubFile>> ListTreeAsync(HubModelId id, string commit, CancellationToken cancellationToken)
    {
        var files = new List<HubFile>();
        Uri? address = At($"api/models/{id.Repository}/tree/{commit}?recursive=true");
        for (int page = 0; address is not null; page++)
        {
            if (page == MaxPages)
                throw new CheckpointException($"The hub lists the files of \"{id}\" on more than {MaxPages} pages.");
            using HttpResponseMessage answer = await GetAsync(id, address, null, cancellationToken);
            files.AddRange(HubListingJson.ReadTree(await ReadAsync(answer, cancellationToken)));
            address = NextPage(answer, address);
        }

        return files;
    }

    // Link: <https://…>; rel="next"
    private static Uri? NextPage(HttpResponseMessage answer, Uri from)
    {
        if (!answer.Headers.TryGetValues("Link", out IEnumerable<string>? links))
            return null;
        string? next = links.SelectMany(link => link.Split(',')).FirstOrDefault(link => link.Contains("rel=\"next\"", StringComparison.Ordinal));
        int begin = next?.IndexOf('<', StringComparison.Ordinal) ?? -1, end = next?.IndexOf('>', StringComparison.Ordinal) ?? -1;
        return begin >= 0 && end > begin && HubAddress.Follow(from, next![(begin + 1)..end]) is { } address && HubAddress.IsSameOrigin(address, from) ? address : null;
    }

    private async Task<ReadOnlyMemory<byte>> ReadAsync(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        if (answer.Content.Headers.ContentLength > MaxListingBytes)
            throw new CheckpointException($"The hub's answer is longer than {MaxListingBytes} bytes.");
        using var all = new MemoryStream();
        byte[] buffer = new byte[1 << 16];
        Stream body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        for (int read; (read = await ReadAsync(body, buffer, cancellationToken)) > 0;)
        {
            all.Write(buffer, 0, read);
            if (all.Length > MaxListingBytes)
                throw new CheckpointException($"The hub's answer is longer than {MaxListingBytes} bytes.");
        }

        return all.GetBuffer().AsMemory(0, (int)all.Length);
    }

    private async Task<HttpResponseMessage> GetAsync(HubModelId id, Uri address, ByteRange? range, CancellationToken cancellationToken)
    {
        for (int hop = 0; hop <= MaxRedirects; hop++)
        {
            HttpResponseMessage answer = await SendAsync(address, range, cancellationToken);
            if ((int)answer.StatusCode is not (301 or 302 or 303 or 307 or 308))
                return Checked(answer, id, address);
            Uri? next = HubAddress.Follow(address, answer.Headers.Location?.OriginalString);
            answer.Dispose();
            if (next is null)
                throw new CheckpointException($"{address.Host} redirects to nowhere.");
            if (address.Scheme == "https" && next.Scheme == "http")
                throw new CheckpointException($"{address.Host} redirects from https to http ({next.Host}); that is not followed.");
            address = next;
        }

        throw new CheckpointException($"{_settings.Endpoint.Host} redirects more than {MaxRedirects} times.");
    }

    private async Task<HttpResponseMessage> SendAsync(Uri address, ByteRange? range, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, address);
        if (_token is not null && HubAddress.IsSameOrigin(address, _settings.Endpoint))
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _token);
        if (range is { } from)
        {
            request.Headers.Range = new RangeHeaderValue(from.From, null);
            request.Headers.IfRange = from.Validator is null ? null : new RangeConditionHeaderValue(from.Validator);
        }

        using var idle = new CancellationTokenSource(_settings.IdleTimeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(idle.Token, cancellationToken);
        try
        {
            return await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
        }
        catch (Exception exception) when (Transient(exception, address.Host, cancellationToken) is { } transient)
        {
            throw transient;
        }
    }

    private HttpResponseMessage Checked(HttpResponseMessage answer, HubModelId id, Uri address)
    {
        int status = (int)answer.StatusCode;
        if (status is 200 or 206 or 416)
            return answer;
        string code = answer.Headers.TryGetValues("X-Error-Code", out IEnumerable<string>? codes) ? codes.First() : "";
        TimeSpan? wait = answer.Headers.RetryAfter switch
        {
            { Delta: { } delta } => delta,
            { Date: { } date } => date > _time.GetUtcNow() ? date - _time.GetUtcNow() : TimeSpan.Zero,
            _ => null,
        };
        answer.Dispose();
        string answers = string.Create(CultureInfo.InvariantCulture, $"{address.Host} answers {status}");
        if (status is 408 or 429 or >= 500)
        {
            throw new HubTransientException(wait > HubRetry.LongestAskedFor
                ? string.Create(CultureInfo.InvariantCulture, $"{answers} and asks to wait {wait.Value.TotalSeconds:0} s, which is longer than {HubRetry.LongestAskedFor.TotalMinutes:0} minutes")
                : answers, wait);
        }

        // Which of these it is, a hub does not always tell.
        throw new CheckpointException((status, code) switch
        {
            (_, "GatedRepo") => $"--model: \"{id}\" is open only to users whom its owners admitted; ask for that at {_settings.Endpoint.Host}, and give such a user's token (HF_TOKEN or Hub:TokenFile).",
            (_, "RevisionNotFound") => $"--model: \"{id.Repository}\" has no revision \"{id.Revision}\" at {_settings.Endpoint.Host}.",
            (401 or 403 or 404, _) when HubAddress.IsSameOrigin(address, _settings.Endpoint) =>
                $"--model: \"{id}\" is not at {_settings.Endpoint.Host} ({status}), or {(_token is null ? "needs a token (HF_TOKEN or Hub:TokenFile)" : "not open to this token")}.",
            _ => $"--model: \"{id}\" cannot be downloaded: {answers}.",
        });
    }

    // Whoever waits for us to end sees the cancellation itself.
    private Exception? Transient(Exception exception, object at, CancellationToken cancellationToken) => exception switch
    {
        _ when cancellationToken.IsCancellationRequested => null,
        OperationCanceledException => new HubTransientException(string.Create(
            CultureInfo.InvariantCulture, $"{(at is string host ? host : "the connection")} sent nothing for {_settings.IdleTimeout.TotalSeconds:0} s")),
        HttpRequestException { HttpRequestError: HttpRequestError.SecureConnectionError } => new CheckpointException(
            $"{at} has no certificate that this machine trusts: {(exception.InnerException ?? exception).Message.ReplaceLineEndings(" ")}"),
        HttpRequestException { HttpRequestError: HttpRequestError.NameResolutionError } => new HubTransientException($"{at} is not a host that can be found"),
        HttpRequestException when at is string host => new HubTransientException($"{host} cannot be reached ({exception.Message.ReplaceLineEndings(" ")})"),
        HttpRequestException or IOException => new HubTransientException("the connection broke"),
        _ => null,
    };

    private Uri At(string path) => new(_settings.Endpoint, path);
}

/// <summary>The rest of a file.</summary>
/// <param name="From">First byte wanted.</param>
/// <param name="Validator">Only if it is still the same as when the bytes before came; null = not known.</param>
internal readonly record struct ByteRange(long From, EntityTagHeaderValue? Validator);
