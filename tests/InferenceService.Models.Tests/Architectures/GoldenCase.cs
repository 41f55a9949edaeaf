using System.Security.Cryptography;
using System.Text.Json;
using InferenceService.Compute;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Tests.Architectures;

/// <summary>One folder of tests/golden/architectures (or of another topic of the same form), opened as a checkpoint.</summary>
internal sealed class GoldenCase : IDisposable
{
    private readonly TemporaryFolder? _made;
    private readonly SafetensorsFile _golden;

    public GoldenCase(string name, string? root = null)
    {
        string folder = Path.Combine(root ?? Root, name);
        using (JsonDocument facts = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "golden.json"))))
        {
            Prompt = [.. facts.RootElement.GetProperty("prompt").EnumerateArray().Select(id => id.GetInt32())];
            Greedy = [.. facts.RootElement.GetProperty("greedy").EnumerateArray().Select(id => id.GetInt32())];
            if (File.Exists(Path.Combine(folder, "tensors.json")))
            {
                _made = Make(folder, facts.RootElement);
                folder = _made.Path;
            }
        }

        _golden = SafetensorsFile.Open(Path.Combine(root ?? Root, name, "golden.safetensors"));
        Checkpoint = Checkpoint.Open(folder);
    }

    public static string Root { get; } = RepositoryFolder.Path("tests/golden/architectures");

    public static IEnumerable<string> Names => Directory.GetDirectories(Root).Select(folder => Path.GetFileName(folder)!).Order();

    public int[] Prompt { get; }

    public int[] Greedy { get; }

    public Checkpoint Checkpoint { get; }

    public ModelConfig Config => Checkpoint.Config;

    public DecoderModel Load(IBackend backend, KvGrouping grouping = KvGrouping.Model, WeightFormat format = WeightFormat.Stored) =>
        DecoderModel.Load(Config, Checkpoint, backend, KvLayout.Of(Config, grouping), new DecoderLimits(64, 64), format: format);

    /// <summary>A golden tensor as rows.</summary>
    public float[][] Rows(string tensor, IBackend backend)
    {
        Assert.True(_golden.TryFind(tensor, out StoredTensor stored), $"golden.safetensors lacks {tensor}");
        return TestCache.Rows(backend, _golden.View(tensor, stored));
    }

    public void Dispose()
    {
        Checkpoint.Dispose();
        _golden.Dispose();
        _made?.Dispose();
    }

    /// <summary>A checkpoint folder from the rule that the oracle's weights follow.</summary>
    private static TemporaryFolder Make(string folder, JsonElement facts)
    {
        ulong seed = facts.GetProperty("seed").GetUInt64();
        using JsonDocument list = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "tensors.json")));
        (string Name, string Type, int[] Shape, byte[] Data)[] tensors =
        [
            .. list.RootElement.EnumerateArray().Select(entry =>
            {
                string name = entry.GetProperty("name").GetString()!;
                int[] shape = [.. entry.GetProperty("shape").EnumerateArray().Select(size => size.GetInt32())];
                var numbers = new SeededUniform(seed, name, entry.GetProperty("scale").GetSingle(), entry.GetProperty("base").GetSingle());
                int count = shape.Aggregate(1, (a, b) => a * b);
                return (name, "F32", shape, SafetensorsWriter.Bytes(Enumerable.Range(0, count).Select(i => numbers[i])));
            }),
        ];
        string digest = Convert.ToHexStringLower(SHA256.HashData(tensors.SelectMany(tensor => tensor.Data).ToArray()));
        Assert.Equal(facts.GetProperty("weights_sha256").GetString(), digest);
        var made = new TemporaryFolder();
        File.Copy(Path.Combine(folder, "config.json"), made.File("config.json"));
        File.WriteAllBytes(made.File("model.safetensors"), SafetensorsWriter.File(tensors));
        return made;
    }
}
