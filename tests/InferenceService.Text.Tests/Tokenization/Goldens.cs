using System.Collections.Concurrent;
using System.IO.Compression;
using System.Text.Json;
using InferenceService.Text.Tokenization;

namespace InferenceService.Text.Tests.Tokenization;

/// <summary>The tokenizers and known encodings under tests/golden/tokenizers; each tokenizer is read once.</summary>
internal static class Goldens
{
    public static readonly string[] Names = ["gpt2", "cl100k", "llama2-spm", "t5-small"];

    private static readonly ConcurrentDictionary<string, Lazy<Tokenizer>> Loaded = new();

    public static string Folder { get; } = Path.Combine(Root(), "tests", "golden", "tokenizers");

    public static byte[] Json(string name)
    {
        using var packed = new GZipStream(File.OpenRead(Path.Combine(Folder, name, "tokenizer.json.gz")), CompressionMode.Decompress);
        using var plain = new MemoryStream();
        packed.CopyTo(plain);
        return plain.ToArray();
    }

    public static Tokenizer Tokenizer(string name) => Loaded.GetOrAdd(name, n => new Lazy<Tokenizer>(() => InferenceService.Text.Tokenization.Tokenizer.FromJson(Json(n)))).Value;

    public static IEnumerable<JsonElement> Lines(string name, string file)
    {
        foreach (string line in File.ReadLines(Path.Combine(Folder, name, file)))
        {
            if (line.Length > 0)
                yield return JsonSerializer.Deserialize<JsonElement>(line);
        }
    }

    public static int[] Ids(JsonElement line) => [.. line.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())];

    private static string Root()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "InferenceService.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException("the repository root is not above the tests");
    }
}
