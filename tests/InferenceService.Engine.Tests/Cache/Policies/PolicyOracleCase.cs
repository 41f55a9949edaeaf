using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>One folder of tests/golden/kv-policies: a checkpoint, a text, and what the oracle kept and computed under every policy.</summary>
internal sealed class PolicyOracleCase : IDisposable
{
    private readonly CpuBackend _backend = new(1);
    private readonly Checkpoint _checkpoint;
    private readonly JsonDocument _golden;
    private readonly byte[] _logits;

    public PolicyOracleCase(string name)
    {
        string folder = Path.Combine(Root, name);
        _checkpoint = Checkpoint.Open(folder);
        _golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "golden.json")));
        _logits = File.ReadAllBytes(Path.Combine(folder, "logits.safetensors"));
        JsonElement facts = _golden.RootElement;
        (Prompt, Forced, Columns) = (Numbers(facts, "prompt"), Numbers(facts, "forced"), Numbers(facts, "columns"));
        Classes = new TokenClasses([.. Ids(facts, "special")], [.. Ids(facts, "punctuation")]);
    }

    public static string Root { get; } = FindRoot();

    public int[] Prompt { get; }

    public int[] Forced { get; }

    /// <summary>Ids whose logits are stored.</summary>
    public int[] Columns { get; }

    public TokenClasses Classes { get; }

    public ModelConfig Config => _checkpoint.Config;

    /// <summary>Names of all (case, run) pairs.</summary>
    public static IEnumerable<(string Case, string Run)> All()
    {
        foreach (string folder in Directory.GetDirectories(Root).Order(StringComparer.Ordinal))
        {
            if (!File.Exists(Path.Combine(folder, "golden.json")))
                continue;
            using JsonDocument golden = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "golden.json")));
            foreach (JsonProperty run in golden.RootElement.GetProperty("policies").EnumerateObject())
                yield return (Path.GetFileName(folder), run.Name);
        }
    }

    /// <summary>Settings of a run, as the oracle names them.</summary>
    public JsonElement Settings(string run) => Run(run).GetProperty("settings");

    /// <summary>What the oracle measured and decided in a run.</summary>
    public JsonElement Report(string run) => Run(run).GetProperty("report");

    /// <summary>[layer][kv head] positions kept after so many forced tokens, as text; null where only the hash is stored.</summary>
    public string[][]? Kept(string run, int forced) => Run(run).GetProperty("kept").TryGetProperty($"{forced}", out JsonElement layers)
        ? [.. layers.EnumerateArray().Select(lanes => lanes.EnumerateArray().Select(lane => lane.GetString()!).ToArray())]
        : null;

    /// <summary>Hashes of the kept sets after 0, 1, 2, … forced tokens.</summary>
    public string[] KeptHashes(string run) => Run(run).GetProperty("kept_sha256").GetString()!.Split(' ');

    /// <summary>[1 + forced][columns + 1] logits, and last the log of the sum of exponentials.</summary>
    public float[][] Logits(string run)
    {
        // Eight bytes of length, a JSON header, then the numbers.
        int header = (int)BinaryPrimitives.ReadInt64LittleEndian(_logits);
        using JsonDocument entries = JsonDocument.Parse(_logits.AsMemory(8, header));
        JsonElement range = entries.RootElement.GetProperty(run).GetProperty("data_offsets");
        ReadOnlySpan<byte> bytes = _logits.AsSpan((8 + header + range[0].GetInt32())..(8 + header + range[1].GetInt32()));
        float[] flat = MemoryMarshal.Cast<byte, float>(bytes).ToArray();
        Assert.Equal((Forced.Length + 1) * (Columns.Length + 1), flat.Length);
        return [.. flat.Chunk(Columns.Length + 1)];
    }

    /// <summary>The checkpoint under a layout.</summary>
    public DecoderModel Load(KvLayout layout) => DecoderModel.Load(Config, _checkpoint, _backend, layout, new DecoderLimits(512, 96));

    /// <summary>Sorted positions as runs: <c>0-3,17,22-24</c>.</summary>
    public static string LaneText(IEnumerable<int> positions)
    {
        var runs = new List<(int First, int Last)>();
        foreach (int position in positions.Order())
        {
            if (runs.Count > 0 && runs[^1].Last == position - 1)
                runs[^1] = (runs[^1].First, position);
            else
                runs.Add((position, position));
        }

        return string.Join(',', runs.Select(run => run.First == run.Last ? $"{run.First}" : $"{run.First}-{run.Last}"));
    }

    /// <summary>What the oracle stores of kept sets that it does not write out.</summary>
    public static string Hash(string[][] kept) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(string.Join(';', kept.SelectMany(lanes => lanes)))))[..16];

    public void Dispose()
    {
        _golden.Dispose();
        _checkpoint.Dispose();
        _backend.Dispose();
    }

    private JsonElement Run(string run) => _golden.RootElement.GetProperty("policies").GetProperty(run);

    private static int[] Numbers(JsonElement facts, string name) => [.. facts.GetProperty(name).GetString()!.Split(' ').Select(int.Parse)];

    private static IEnumerable<int> Ids(JsonElement facts, string name) => facts.GetProperty(name).EnumerateArray().Select(id => id.GetInt32());

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "InferenceService.sln")))
            folder = folder.Parent;
        return Path.Combine(folder?.FullName ?? throw new DirectoryNotFoundException("No InferenceService.sln above the tests."), "tests/golden/kv-policies");
    }
}
