using System.Net;
using InferenceService.Models;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hub;

/// <summary>Section <c>Hub</c> with the hub's own variables in the place of what it leaves open.</summary>
internal sealed record HubSettings
{
    private const string DefaultEndpoint = "https://huggingface.co";
    private const int MaxTokenBytes = 4096;

    /// <summary>Nothing may be downloaded.</summary>
    public required bool Offline { get; init; }

    /// <summary>Scheme, host, port and maybe a path, ending with a slash.</summary>
    public required Uri Endpoint { get; init; }

    /// <summary>Folder with <c>models--org--name</c> folders; null = there is none.</summary>
    public required string? CacheFolder { get; init; }

    /// <summary>Most bytes of one model.</summary>
    public required long MaxBytes { get; init; }

    /// <summary>A connection that brings nothing for so long is given up.</summary>
    public required TimeSpan IdleTimeout { get; init; }

    /// <summary>Further attempts after one that brought too little.</summary>
    public required int Retries { get; init; }

    private string? Token { get; init; }

    private string? TokenFile { get; init; }

    private bool TokenFileIsStated { get; init; }

    /// <summary>Puts settings and variables together.</summary>
    public static HubSettings From(HubOptions options, ProcessEnvironment environment) => new()
    {
        Offline = options.Offline ?? environment.HubOffline,
        Endpoint = new Uri(EndpointOf(options, environment).TrimEnd('/') + "/"),
        CacheFolder = environment.HubCache,
        MaxBytes = options.MaxBytes,
        IdleTimeout = options.IdleTimeout,
        Retries = options.Retries,
        Token = options.Token ?? (options.TokenFile is null ? environment.HubToken : null),
        TokenFile = options.TokenFile ?? environment.HubTokenFile,
        TokenFileIsStated = options.TokenFile is not null,
    };

    /// <summary>Adds a line for each thing that is wrong with the section.</summary>
    public static void Check(HubOptions options, ProcessEnvironment environment, List<string> problems, Func<string, string> spell)
    {
        string endpoint = EndpointOf(options, environment);
        string source = options.Endpoint is null ? "HF_ENDPOINT" : spell("Hub:Endpoint");
        if (Uri.TryCreate(endpoint, UriKind.Absolute, out Uri? uri) && uri.Query.Length + uri.Fragment.Length + uri.UserInfo.Length > 0)
            problems.Add($"{source}: an address such as {DefaultEndpoint} holds no user, password, query or fragment"); // not quoted: it may be a secret
        else if (!HubAddress.IsUsable(uri))
            problems.Add($"{source}: \"{endpoint}\" is not an address such as {DefaultEndpoint}");
        else if (uri.Scheme == "http" && options.Token is not null && !IsThisMachine(uri))
            problems.Add($"{source}: the token would be sent over http to {uri.Host}; use https");
        if (options.Token is { } token && !IsToken(token))
            problems.Add($"{spell("Hub:Token")}: a token has 1 to {MaxTokenBytes} printable characters without spaces");
    }

    /// <summary>The token; null = there is none.</summary>
    /// <exception cref="CheckpointException">It cannot be read, or must not be sent to this endpoint.</exception>
    public string? ReadToken()
    {
        string? token = (Token ?? FromFile())?.Trim();
        if (string.IsNullOrEmpty(token))
            return null;
        if (!IsToken(token))
            throw new CheckpointException($"The token of the hub ({(Token is null ? TokenFile : "HF_TOKEN")}) is not 1 to {MaxTokenBytes} printable characters without spaces.");
        return Endpoint.Scheme == "https" || IsThisMachine(Endpoint)
            ? token
            : throw new CheckpointException($"The token of the hub would be sent over http to {Endpoint.Host}; use https, or leave the token out.");
    }

    // Only a file that configuration names must exist.
    private string? FromFile()
    {
        try
        {
            if (TokenFile is null || (!TokenFileIsStated && !File.Exists(TokenFile)))
                return null;
            return new FileInfo(TokenFile).Length <= MaxTokenBytes
                ? File.ReadAllText(TokenFile)
                : throw new CheckpointException($"The token file {TokenFile} is longer than {MaxTokenBytes} bytes.");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"The token file {TokenFile} cannot be read.");
        }
    }

    private static string EndpointOf(HubOptions options, ProcessEnvironment environment) => options.Endpoint ?? environment.HubEndpoint ?? DefaultEndpoint;

    private static bool IsToken(string text) => text.Length is > 0 and <= MaxTokenBytes && text.All(c => c is > ' ' and <= '~');

    private static bool IsThisMachine(Uri uri) => uri.Host == "localhost" || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? ip) && IPAddress.IsLoopback(ip));
}
