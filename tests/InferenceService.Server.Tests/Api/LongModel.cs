namespace InferenceService.Server.Tests.Api;

/// <summary>The tiny model with a context that no test waits to see filled: its requests go on until something ends them.</summary>
internal static class LongModel
{
    /// <summary>Fields of a request that does not end by itself.</summary>
    public const string Endless = "\"max_tokens\":150000,\"ignore_eos\":true";

    /// <summary>Fields of a request that is long in its prefill: 60,000 tokens, in thousands of steps under <see cref="OneAtATime"/>.</summary>
    public static readonly string Prompt = $"\"prompt\":\"{new string('a', 60_000)}\",\"max_tokens\":8";

    private static readonly Lazy<string> Folder = new(() =>
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        foreach (string name in (string[])["config.json", "tokenizer_config.json"])
        {
            string path = Path.Combine(folder, name);
            File.WriteAllText(path, File.ReadAllText(path).Replace($":{TinyModel.Context}", ":200000", StringComparison.Ordinal));
        }

        return folder;
    });

    /// <summary>How to start a server with it. Prefixes are not kept, so that an idle engine owns no block.</summary>
    public static string[] Flags => ["--model", Folder.Value, "--no-enable-prefix-caching", "--kv-cache-memory-bytes", "80M"];

    /// <summary>One request at a time: what comes second waits in the queue.</summary>
    public static string[] OneAtATime => [.. Flags, "--max-num-seqs", "1", "--max-num-batched-tokens", "16"];

    /// <summary>Holds the only place: one that streams tokens makes way for whoever waits when its client reads too slowly, one in its prefill does not.</summary>
    public static HttpRequestMessage Prefill() => ApiClient.Request("/v1/completions", $"{{{Prompt}}}");
}
