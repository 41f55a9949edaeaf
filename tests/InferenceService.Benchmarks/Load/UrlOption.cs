using System.CommandLine;

namespace InferenceService.Benchmarks.Load;

/// <summary>The server to load, the same for every command that talks HTTP.</summary>
internal static class UrlOption
{
    /// <summary>The option parser converts no URLs by itself, hence the parser here.</summary>
    public static Option<Uri> Create() => new("--url")
    {
        Description = "Server to load (this machine).",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8000"),
        CustomParser = result =>
        {
            string text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
            if (Uri.TryCreate(text, UriKind.Absolute, out Uri? url) && (url.Scheme == Uri.UriSchemeHttp || url.Scheme == Uri.UriSchemeHttps))
                return url;
            result.AddError($"--url must be an http or https address, got '{text}'.");
            return null;
        },
    };
}
