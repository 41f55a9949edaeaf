using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace InferenceService.Server.Tests;

/// <summary>A seeded random Llama checkpoint of some 30,000 parameters with a byte-level tokenizer, written once a test run.</summary>
/// <remarks>
/// Ids 0-4 are special, id 5 + b is byte b. Rows of the head for bytes that are not printable ASCII are zero, so that it speaks ASCII
/// and practically never ends by itself.
/// </remarks>
public static class TinyModel
{
    public const string Name = "tiny";
    public const int Context = 2048;
    public const int FirstByteId = 5;
    public const int VocabularySize = FirstByteId + 256;
    public const int EndId = 1;

    public const string ChatTemplate =
        "{{ bos_token }}{% for m in messages %}{% if m['role'] not in ['system', 'user', 'assistant'] %}{{ raise_exception('unknown role ' + m['role']) }}{% endif %}"
        + "<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

    private const int Hidden = 32, Layers = 2, Heads = 4, KvHeads = 2, HeadDim = 8, Intermediate = 64;
    private static readonly string[] Special = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];
    private static readonly Lazy<string> Written = new(() =>
    {
        string folder = NewFolder();
        Write(folder);
        return folder;
    });

    /// <summary>The folder, shared by all tests; nobody writes to it.</summary>
    public static string Folder => Written.Value;

    /// <summary>An empty folder named like the model, gone when the test run ends.</summary>
    public static string NewFolder()
    {
        string root = Directory.CreateTempSubdirectory("inference-tests-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
        {
            if (Directory.Exists(root))
                Directory.Delete(root, recursive: true);
        };
        return Directory.CreateDirectory(Path.Combine(root, Name)).FullName;
    }

    /// <summary>Writes the checkpoint; a test may then damage it.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="sharing">Both layers read the cache of the upper one (LCKV).</param>
    public static void Write(string folder, bool sharing = false)
    {
        JsonObject config = Config();
        if (sharing)
            (config["architectures"], config["model_type"], config["layer_types"]) = (new JsonArray("LCKVLlamaForCausalLM"), "lckv-llama", "1_1");
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), Tokenizer().ToJsonString());
        var tokenizerConfig = new JsonObject { ["bos_token"] = Special[0], ["eos_token"] = Special[1], ["chat_template"] = ChatTemplate, ["model_max_length"] = Context };
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), tokenizerConfig.ToJsonString());
        WriteWeights(Path.Combine(folder, "model.safetensors"), sharing);
    }

    private static JsonObject Config() => new()
    {
        ["architectures"] = new JsonArray("LlamaForCausalLM"),
        ["model_type"] = "llama",
        ["torch_dtype"] = "float32",
        ["hidden_size"] = Hidden,
        ["num_hidden_layers"] = Layers,
        ["num_attention_heads"] = Heads,
        ["num_key_value_heads"] = KvHeads,
        ["head_dim"] = HeadDim,
        ["intermediate_size"] = Intermediate,
        ["vocab_size"] = VocabularySize,
        ["max_position_embeddings"] = Context,
        ["rms_norm_eps"] = 1e-5,
        ["rope_theta"] = 10000.0,
        ["hidden_act"] = "silu",
        ["tie_word_embeddings"] = false,
        ["bos_token_id"] = 0,
        ["eos_token_id"] = EndId,
    };

    private static JsonObject Tokenizer()
    {
        var vocabulary = new JsonObject();
        for (int i = 0; i < Special.Length; i++)
            vocabulary[Special[i]] = i;
        for (int b = 0; b < 256; b++)
            vocabulary[ByteLevel(b).ToString()] = FirstByteId + b;
        var added = new JsonArray([.. Special.Select((content, id) => (JsonNode)new JsonObject
        {
            ["id"] = id, ["content"] = content, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false, ["special"] = true,
        })]);
        return new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = added,
            ["normalizer"] = null,
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true },
            ["post_processor"] = null,
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = true, ["trim_offsets"] = true, ["use_regex"] = true },
            ["model"] = new JsonObject { ["type"] = "BPE", ["dropout"] = null, ["unk_token"] = null, ["fuse_unk"] = false, ["byte_fallback"] = false, ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        };
    }

    // The byte alphabet of byte-level BPE: printable Latin-1 stands for itself, the rest is moved above U+0100 in order.
    private static char ByteLevel(int value)
    {
        static bool Itself(int b) => b is (>= 33 and <= 126) or (>= 161 and <= 172) or >= 174;
        return Itself(value) ? (char)value : (char)(256 + Enumerable.Range(0, value).Count(b => !Itself(b)));
    }

    private static void WriteWeights(string path, bool sharing)
    {
        var tensors = new List<(string Name, int[] Shape, float[] Values)>();
        var random = new Random(20260101);
        Add("model.embed_tokens.weight", VocabularySize, Hidden, 1f);
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");
            Ones(prefix + "input_layernorm.weight");
            Add(prefix + "self_attn.q_proj.weight", Heads * HeadDim, Hidden, 1f);
            if (!sharing || layer == 1)
            {
                Add(prefix + "self_attn.k_proj.weight", KvHeads * HeadDim, Hidden, 1f);
                Add(prefix + "self_attn.v_proj.weight", KvHeads * HeadDim, Hidden, 1f);
            }

            Add(prefix + "self_attn.o_proj.weight", Hidden, Heads * HeadDim, 1f);
            Ones(prefix + "post_attention_layernorm.weight");
            Add(prefix + "mlp.gate_proj.weight", Intermediate, Hidden, 1f);
            Add(prefix + "mlp.up_proj.weight", Intermediate, Hidden, 1f);
            Add(prefix + "mlp.down_proj.weight", Hidden, Intermediate, 1f);
        }

        Ones("model.norm.weight");
        Add("lm_head.weight", VocabularySize, Hidden, 4f);
        float[] head = tensors[^1].Values;
        for (int id = 0; id < VocabularySize; id++)
        {
            if (id - FirstByteId is < 32 or > 126)
                head.AsSpan(id * Hidden, Hidden).Clear();
        }

        Save(path, tensors);

        void Ones(string name) => tensors.Add((name, [Hidden], [.. Enumerable.Repeat(1f, Hidden)]));

        void Add(string name, int rows, int columns, float gain)
        {
            float scale = gain * MathF.Sqrt(3f / columns);
            tensors.Add((name, [rows, columns], [.. Enumerable.Range(0, rows * columns).Select(_ => scale * ((2f * random.NextSingle()) - 1f))]));
        }
    }

    private static void Save(string path, List<(string Name, int[] Shape, float[] Values)> tensors)
    {
        var header = new JsonObject();
        int offset = 0;
        foreach ((string name, int[] shape, float[] values) in tensors)
        {
            header[name] = new JsonObject
            {
                ["dtype"] = "F32",
                ["shape"] = JsonSerializer.SerializeToNode(shape),
                ["data_offsets"] = new JsonArray(offset, offset + (values.Length * sizeof(float))),
            };
            offset += values.Length * sizeof(float);
        }

        byte[] json = Encoding.UTF8.GetBytes(header.ToJsonString());
        var bytes = new byte[8 + json.Length + offset];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, json.Length);
        json.CopyTo(bytes, 8);
        int at = 8 + json.Length;
        foreach (float value in tensors.SelectMany(tensor => tensor.Values))
        {
            BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(at), value);
            at += sizeof(float);
        }

        File.WriteAllBytes(path, bytes);
    }
}
