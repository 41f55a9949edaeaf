using System.Buffers.Binary;
using System.Text;
using InferenceService.Fuzz.Loop;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Fuzz.Targets.Models;

/// <summary>model.safetensors.index.json in a folder with two shards, beside a file that it must not reach.</summary>
internal sealed class ShardIndexTarget : FuzzTarget
{
    private readonly ScratchFolder _root = new();
    private readonly string _folder;

    public ShardIndexTarget()
    {
        _folder = Directory.CreateDirectory(Path.Combine(_root.Path, "model")).FullName;
        _root.Write("model/model-1.safetensors", Shard("a"));
        _root.Write("model/model-2.safetensors", Shard("b"));
        _root.Write("outside.safetensors", Shard("c"));
    }

    public override string Name => "shard-index";

    public override int MaxBytes => 1024;

    public override IReadOnlyList<string> Words =>
        ["model-1.safetensors", "model-2.safetensors", "../outside.safetensors", ".safetensors", "outside.safetensors", "weight_map", "metadata", "/dev/zero.safetensors", "model-1.safetensors\\u0000"];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Encoding.UTF8.GetBytes("""{"metadata":{"total_size":16},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}""");
        yield return Encoding.UTF8.GetBytes("""{"weight_map":{"c":"../outside.safetensors"}}""");
        yield return Encoding.UTF8.GetBytes("""{"weight_map":{}}""");
    }

    public override bool Run(byte[] input)
    {
        _root.Write("model/model.safetensors.index.json", input);
        try
        {
            using ShardSet shards = ShardSet.Open(_folder);
            foreach (string tensor in (ReadOnlySpan<string>)["a", "b"])
            {
                if (shards.TryFind(tensor, out SafetensorsFile? shard, out StoredTensor stored))
                    _ = shard.View(tensor, stored);
            }

            Require(!shards.TryFind("c", out _, out _), "an index opened a file outside its folder");
            return true;
        }
        catch (CheckpointException e)
        {
            CheckMessage(e.Message, 400);
            Require(!e.Message.Contains(_root.Path, StringComparison.Ordinal), "a refusal shows a path");
            return false;
        }
    }

    protected override void Dispose(bool disposing)
    {
        _root.Dispose();
        base.Dispose(disposing);
    }

    private static byte[] Shard(string tensor)
    {
        byte[] header = Encoding.UTF8.GetBytes($$$"""{"{{{tensor}}}":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""");
        byte[] file = new byte[8 + header.Length + 8];
        BinaryPrimitives.WriteInt64LittleEndian(file, header.Length);
        header.CopyTo(file, 8);
        return file;
    }
}
