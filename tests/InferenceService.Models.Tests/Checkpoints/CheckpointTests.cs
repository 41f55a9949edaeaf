using System.Text.Json.Nodes;
using InferenceService.Compute;
using InferenceService.Models.Architectures;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Tests.Checkpoints;

public sealed class CheckpointTests
{
    private const string Config = """
        {"architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":12,"num_hidden_layers":1,"num_attention_heads":2,
        "vocab_size":10,"max_position_embeddings":64,"eos_token_id":[2,7],"bos_token_id":1,"torch_dtype":"float32"}
        """;

    private static readonly (string Name, string Type, int[] Shape, byte[] Data)[] Weights =
    [
        .. DecoderWeights.Of(ModelConfig.FromJson(System.Text.Encoding.UTF8.GetBytes(Config), [])).All()
            .Select(spec => (spec.Name, "F32", spec.Rows == 1 ? new[] { spec.Columns } : [spec.Rows, spec.Columns], new byte[4 * spec.Elements])),
    ];

    private static TemporaryFolder Folder(string config = Config, byte[]? weights = null)
    {
        var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("config.json"), config);
        File.WriteAllBytes(folder.File("model.safetensors"), weights ?? SafetensorsWriter.File(Weights));
        return folder;
    }

    private static void AssertRefused(TemporaryFolder folder, string expected)
    {
        string message = Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Path)).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        SafetensorsFileTests.AssertOneLine(message, folder.Path);
    }

    [Fact]
    public void A_folder_gives_config_generation_defaults_and_weights()
    {
        using TemporaryFolder folder = Folder();
        File.WriteAllText(folder.File("generation_config.json"),
            """{"do_sample":true,"temperature":0.6,"top_p":0.95,"top_k":20,"min_p":0.05,"repetition_penalty":1.1,"max_new_tokens":77,"eos_token_id":[7,9]}""");
        using Checkpoint checkpoint = Checkpoint.Open(folder.Path);
        Assert.Equal("LlamaForCausalLM", checkpoint.Config.Architecture);
        Assert.Equal([2, 7, 9], checkpoint.Config.EosTokenIds.ToArray());
        Assert.Equal(1, checkpoint.Config.BosTokenId);
        Assert.Equal(DType.F32, checkpoint.Config.StatedType);
        Assert.Equal(new GenerationDefaults
        {
            DoSample = true,
            Temperature = 0.6f,
            TopP = 0.95f,
            TopK = 20,
            MinP = 0.05f,
            RepetitionPenalty = 1.1f,
            MaxNewTokens = 77,
        }, checkpoint.Generation);
        Assert.Equal(Weights.Sum(weight => weight.Data.LongLength), checkpoint.WeightBytes);
        Assert.True(checkpoint.TryGet("lm_head.weight", out Tensor head));
        Assert.Equal((10, 8), (head.Rows, head.Columns));
        Assert.False(checkpoint.TryGet("absent", out _));
    }

    [Fact]
    public void Without_generation_config_there_are_no_defaults()
    {
        using TemporaryFolder folder = Folder();
        using Checkpoint checkpoint = Checkpoint.Open(folder.Path);
        Assert.Equal(GenerationDefaults.None, checkpoint.Generation);
        Assert.Equal([2, 7], checkpoint.Config.EosTokenIds.ToArray());
    }

    [Theory]
    [InlineData("""{"temperature":-1}""", "generation_config.json: temperature is -1; allowed: a number from 0 to 100.")]
    [InlineData("""{"top_p":0}""", "generation_config.json: top_p is 0; allowed: a number from 1E-06 to 1.")]
    [InlineData("""{"top_k":-1}""", "generation_config.json: top_k is -1; allowed: a whole number from 0")]
    [InlineData("""{"min_p":"x"}""", "generation_config.json: min_p is 'x'; allowed: a number from 0 to 1.")]
    [InlineData("""{"repetition_penalty":0}""", "generation_config.json: repetition_penalty is 0")]
    [InlineData("""{"max_new_tokens":0}""", "generation_config.json: max_new_tokens is 0")]
    [InlineData("""{"eos_token_id":"x"}""", "generation_config.json: eos_token_id is 'x'")]
    [InlineData("""{"do_sample":1}""", "generation_config.json: do_sample is 1; allowed: true or false.")]
    [InlineData("[", "generation_config.json: not valid JSON at line 1")]
    public void Generation_defaults_are_range_checked(string json, string expected)
    {
        using TemporaryFolder folder = Folder();
        File.WriteAllText(folder.File("generation_config.json"), json);
        AssertRefused(folder, expected);
    }

    [Fact]
    public void A_folder_that_does_not_exist_is_refused() => Assert.Contains(
        "does not exist", Assert.Throws<CheckpointException>(() => Checkpoint.Open("/no/such/folder")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_folder_without_config_is_refused()
    {
        using TemporaryFolder folder = Folder();
        File.Delete(folder.File("config.json"));
        AssertRefused(folder, "config.json is missing");
    }

    [Theory]
    [InlineData("pytorch_model.bin", "only PyTorch .bin weights, which are not supported; convert them to safetensors.")]
    [InlineData("model-q4.gguf", "only GGUF weights")]
    [InlineData("consolidated.00.pth", "only PyTorch .pth weights")]
    [InlineData("readme.md", "neither model.safetensors nor model.safetensors.index.json: no weights.")]
    public void A_folder_without_safetensors_says_what_it_has(string file, string expected)
    {
        using TemporaryFolder folder = Folder();
        File.Move(folder.File("model.safetensors"), folder.File(file));
        AssertRefused(folder, expected);
    }

    [Fact]
    public void An_unsupported_architecture_is_refused_with_the_list_of_supported_ones()
    {
        using TemporaryFolder folder = Folder(Config.Replace("LlamaFor", "MambaFor"));
        AssertRefused(folder, "config.json: architecture 'MambaForCausalLM' is not supported; supported are LCKVLlamaForCausalLM, LlamaForCausalLM, MistralForCausalLM, "
            + "Phi3ForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, SmolLM3ForCausalLM.");
    }

    [Fact]
    public void Missing_tensors_are_counted_and_the_first_is_named()
    {
        using TemporaryFolder folder = Folder(weights: SafetensorsWriter.File(Weights.Where(weight => !weight.Name.Contains("mlp."))));
        AssertRefused(folder, "model.safetensors: 3 tensors that LlamaForCausalLM needs are missing, the first is 'model.layers.0.mlp.gate_proj.weight'.");
    }

    [Fact]
    public void A_wrong_shape_is_named()
    {
        using TemporaryFolder folder = Folder(Config.Replace("\"vocab_size\":10", "\"vocab_size\":11"));
        AssertRefused(folder, "model.safetensors: tensor 'model.embed_tokens.weight' has shape [10, 8]; config.json asks for [11, 8].");
    }

    [Fact]
    public void A_weight_of_a_type_that_is_not_supported_is_named()
    {
        using TemporaryFolder folder = Folder(weights: SafetensorsWriter.File(Weights.Select(weight =>
            weight.Name.Contains("v_proj") ? (weight.Name, "I8", weight.Shape, new byte[weight.Data.Length / 4]) : weight)));
        AssertRefused(folder, "model.safetensors: tensor 'model.layers.0.self_attn.v_proj.weight' has dtype I8; supported are F32, F16 and BF16.");
    }

    [Fact]
    public void Tensors_that_no_layer_asks_for_may_have_any_type()
    {
        using TemporaryFolder folder = Folder(weights: SafetensorsWriter.File(
            [("model.layers.0.self_attn.rotary_emb.inv_freq", "F64", [2], new byte[16]), .. Weights, ("counter", "I64", [], new byte[8])]));
        Checkpoint.Open(folder.Path).Dispose();
    }

    [Theory]
    [InlineData("../model.safetensors")]
    [InlineData("..\\model.safetensors")]
    [InlineData("/tmp/model.safetensors")]
    [InlineData("sub/model.safetensors")]
    [InlineData("C:model.safetensors")]
    [InlineData(".safetensors")]
    [InlineData("model.bin")]
    [InlineData("")]
    public void An_index_may_not_name_files_outside_the_folder(string shard)
    {
        using TemporaryFolder folder = Folder();
        File.Move(folder.File("model.safetensors"), folder.File("a.safetensors"));
        WriteIndex(folder, Weights.Select(weight => (weight.Name, shard)));
        AssertRefused(folder, $"model.safetensors.index.json: shard '{shard}' is not the plain name of a .safetensors file.");
    }

    [Fact]
    public void Shards_are_joined()
    {
        using TemporaryFolder folder = Folder(weights: SafetensorsWriter.File(Weights[..4]));
        File.Move(folder.File("model.safetensors"), folder.File("a.safetensors"));
        File.WriteAllBytes(folder.File("b.safetensors"), SafetensorsWriter.File(Weights[4..]));
        WriteIndex(folder, Weights.Select((weight, i) => (weight.Name, i < 4 ? "a.safetensors" : "b.safetensors")));
        using Checkpoint checkpoint = Checkpoint.Open(folder.Path);
        Assert.All(Weights, weight => Assert.True(checkpoint.TryGet(weight.Name, out _)));
    }

    [Fact]
    public void A_missing_shard_is_named()
    {
        using TemporaryFolder folder = Folder();
        File.Delete(folder.File("model.safetensors"));
        WriteIndex(folder, [("a", "model-00001-of-00002.safetensors")]);
        AssertRefused(folder, "model.safetensors.index.json: shard 'model-00001-of-00002.safetensors' is missing from the model folder.");
    }

    [Fact]
    public void A_tensor_that_is_not_in_its_shard_is_named()
    {
        using TemporaryFolder folder = Folder();
        File.Move(folder.File("model.safetensors"), folder.File("a.safetensors"));
        WriteIndex(folder, [("ghost", "a.safetensors")]);
        AssertRefused(folder, "a.safetensors: tensor 'ghost' is not in the file, although model.safetensors.index.json says so.");
    }

    [Theory]
    [InlineData("{}", "weight_map is missing")]
    [InlineData("""{"weight_map":[]}""", "weight_map is a list of 0; allowed: an object")]
    [InlineData("""{"weight_map":{"a":1}}""", "weight_map is 1; allowed: an object of strings")]
    [InlineData("""{"weight_map":{"a":"a.safetensors","a":"a.safetensors"}}""", "weight_map lists 'a' twice")]
    [InlineData("""{"weight_map":{}}""", "12 tensors that LlamaForCausalLM needs are missing")]
    [InlineData("""{"weight_map":{"\udc00":"a.safetensors"}}""", "allowed: an object of strings")]
    [InlineData("nonsense", "not valid JSON at line 1, byte 2")]
    public void A_damaged_index_is_refused(string index, string expected)
    {
        using TemporaryFolder folder = Folder();
        File.Move(folder.File("model.safetensors"), folder.File("a.safetensors"));
        File.WriteAllText(folder.File("model.safetensors.index.json"), index);
        AssertRefused(folder, "model.safetensors.index.json: ");
        AssertRefused(folder, expected);
    }

    [Fact]
    public void Damage_to_any_file_at_random_is_refused_or_harmless()
    {
        const int seed = 4711;
        var random = new Random(seed);
        using TemporaryFolder folder = Folder();
        WriteIndex(folder, Weights.Select(weight => (weight.Name, "a.safetensors")));
        File.Move(folder.File("model.safetensors"), folder.File("a.safetensors"));
        File.WriteAllText(folder.File("generation_config.json"), """{"temperature":0.6,"top_p":0.95,"top_k":20,"eos_token_id":[7,9]}""");
        string[] files = ["config.json", "generation_config.json", "model.safetensors.index.json", "a.safetensors"];
        byte[][] whole = [.. files.Select(file => File.ReadAllBytes(folder.File(file)))];
        int refused = 0;
        for (int i = 0; i < 1000; i++)
        {
            int which = i % files.Length;
            byte[] damaged = Fuzz.Damage(whole[which], random);
            File.WriteAllBytes(folder.File(files[which]), damaged);
            try
            {
                Checkpoint.Open(folder.Path).Dispose();
            }
            catch (CheckpointException e)
            {
                refused++;
                SafetensorsFileTests.AssertOneLine(e.Message, folder.Path);
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"Seed {seed}, case {i}, {files[which]}: {e.GetType().Name} for {Convert.ToHexString(damaged)}");
            }

            File.WriteAllBytes(folder.File(files[which]), whole[which]);
        }

        Assert.InRange(refused, 500, 1000);
    }

    private static void WriteIndex(TemporaryFolder folder, IEnumerable<(string Tensor, string Shard)> entries)
    {
        var map = new JsonObject();
        foreach ((string tensor, string shard) in entries)
            map[tensor] = shard;
        File.WriteAllText(folder.File("model.safetensors.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
    }
}
