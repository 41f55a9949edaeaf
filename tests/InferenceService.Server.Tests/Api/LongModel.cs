namespace InferenceService.Server.Tests.Api;

/// <summary>The tiny model with a context that no test waits to see filled: its requests go on until something ends them.</summary>
internal static class LongModel
{
    /// <summary>Fields of a request that does not end by itself.</summary>
    public const string Endless = "\"max_tokens\":150000,\"ignore_eos\":true";

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
}
