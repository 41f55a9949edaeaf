using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Tests;

/// <summary>One case of tests/golden/kv-policies: a model, a prompt, tokens to force, and what every policy keeps and computes.</summary>
internal sealed class KvGolden : IDisposable
{
    private readonly JsonDocument _document;
    private readonly byte[] _logits;

    public KvGolden(string name)
    {
        Folder = Path.Combine(Root(), name);
        _document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "golden.json")));
        _logits = File.ReadAllBytes(Path.Combine(Folder, "logits.safetensors"));
        Prompt = Ids("prompt");
        Forced = Ids("forced");
        Columns = Ids("columns");
        Classes = new TokenClasses(List("special"), List("punctuation"));
    }

    public static string[] Cases => ["g1", "g2", "g4"];

    public string Folder { get; }

    public int[] Prompt { get; }

    public int[] Forced { get; }

    /// <summary>Ids whose logits are known.</summary>
    public int[] Columns { get; }

    public TokenClasses Classes { get; }

    /// <summary>Settings of every run by its name.</summary>
    public IEnumerable<(string Name, JsonElement Settings)> Runs =>
        _document.RootElement.GetProperty("policies").EnumerateObject().Select(run => (run.Name, run.Value.GetProperty("settings")));

    /// <summary>[1 + forced] what is kept after so many forced tokens, as <see cref="Digest"/> of all lanes.</summary>
    public string[] Kept(string run) => Run(run).GetProperty("kept_sha256").GetString()!.Split(' ');

    /// <summary>The lanes themselves, where they were written out; null elsewhere.</summary>
    public string? KeptText(string run, int forced) => Run(run).GetProperty("kept").TryGetProperty(forced.ToString(CultureInfo.InvariantCulture), out JsonElement layers)
        ? string.Join(';', layers.EnumerateArray().SelectMany(layer => layer.EnumerateArray().Select(lane => lane.GetString())))
        : null;

    /// <summary>[columns + 1] logits of <see cref="Columns"/> after so many forced tokens, then the log of the sum of exponentials over the vocabulary.</summary>
    public float[] Logits(string run, int forced)
    {
        int headerBytes = (int)BinaryPrimitives.ReadInt64LittleEndian(_logits), width = Columns.Length + 1;
        using JsonDocument header = JsonDocument.Parse(_logits.AsMemory(8, headerBytes));
        int start = header.RootElement.GetProperty(run).GetProperty("data_offsets")[0].GetInt32() + 8 + headerBytes;
        return MemoryMarshal.Cast<byte, float>(_logits.AsSpan(start + forced * width * sizeof(float), width * sizeof(float))).ToArray();
    }

    /// <summary>Positions that a sequence keeps, lane after lane, as runs.</summary>
    public static string Lanes(SequenceCache cache, int lanesPerGroup)
    {
        var text = new StringBuilder();
        for (int group = 0; group < cache.Tables.Length; group++)
        {
            BlockTable table = cache.Tables[group];
            IEnumerable<int> slots = Enumerable.Range(0, table.Length);
            int[] positions = [.. (cache.SlotPositions is null ? slots : slots.Select(slot => cache.SlotPositions[group][slot])).Where(position => position >= 0).Order()];
            string runs = Spans(positions);
            for (int lane = 0; lane < lanesPerGroup; lane++)
                text.Append(text.Length == 0 ? "" : ";").Append(runs);
        }

        return text.ToString();
    }

    /// <summary>First 16 digits of SHA-256.</summary>
    public static string Digest(string lanes) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(lanes)))[..16];

    public void Dispose() => _document.Dispose();

    private static string Spans(int[] positions)
    {
        var text = new StringBuilder();
        for (int i = 0; i < positions.Length;)
        {
            int first = i;
            while (i + 1 < positions.Length && positions[i + 1] == positions[i] + 1)
                i++;
            text.Append(first == 0 ? "" : ",").Append(CultureInfo.InvariantCulture, $"{positions[first]}");
            if (i > first)
                text.Append(CultureInfo.InvariantCulture, $"-{positions[i]}");
            i++;
        }

        return text.ToString();
    }

    private JsonElement Run(string run) => _document.RootElement.GetProperty("policies").GetProperty(run);

    private int[] Ids(string name) => [.. _document.RootElement.GetProperty(name).GetString()!.Split(' ').Select(id => int.Parse(id, CultureInfo.InvariantCulture))];

    private int[] List(string name) => [.. _document.RootElement.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];

    private static string Root([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", "golden", "kv-policies");
}
