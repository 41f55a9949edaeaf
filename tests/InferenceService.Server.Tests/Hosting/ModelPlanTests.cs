using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Devices;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Tests.Hosting;

public sealed class ModelPlanTests
{
    private static readonly ProcessEnvironment NoVariables = new() { Variables = new Dictionary<string, string>() };

    [Fact]
    public void A_checkpoint_opens_with_its_sizes()
    {
        using ModelPlan plan = Open(new ModelOptions { Path = TinyModel.Folder });
        Assert.Equal([TinyModel.Name], plan.Names);
        Assert.Equal(TinyModel.Context, plan.Memory.MaxModelLength);
        Assert.Equal(DType.F32, plan.KvType);
        Assert.NotNull(plan.ChatTemplate);
        Assert.Equal(TinyModel.VocabularySize, plan.Tokenizer.VocabularySize);
        Assert.Empty(plan.Warnings);
    }

    [Fact]
    public void Another_weight_type_than_the_stored_one_is_refused()
    {
        var error = Assert.Throws<CheckpointException>(() => Open(new ModelOptions { Path = TinyModel.Folder, Dtype = "float16" }));
        Assert.Equal("--dtype: \"float16\" is not what this checkpoint's weights are stored as; allowed are auto, float32 and bfloat16.", error.Message);
    }

    [Theory]
    [InlineData("auto", "none", WeightFormat.Stored, DType.F32)]
    [InlineData("float32", "none", WeightFormat.Stored, DType.F32)]
    [InlineData("bfloat16", "none", WeightFormat.BF16, DType.BF16)]
    [InlineData("auto", "int8", WeightFormat.Int8, DType.F32)]
    [InlineData("bfloat16", "int4", WeightFormat.Int4, DType.BF16)]
    public void Type_and_quantisation_decide_how_matrices_and_cache_are_held(string type, string quantization, WeightFormat format, DType kv)
    {
        using ModelPlan stored = Open(new ModelOptions { Path = TinyModel.Folder });
        using ModelPlan plan = Open(new ModelOptions { Path = TinyModel.Folder, Dtype = type, Quantization = quantization });
        Assert.Equal((format, kv, DType.F32), (plan.WeightFormat, plan.KvType, plan.StoredType));
        Assert.Equal(format == WeightFormat.Stored, plan.Memory.WeightBytes == stored.Memory.WeightBytes);
        Assert.True(plan.Memory.WeightBytes <= stored.Memory.WeightBytes);
    }

    [Fact]
    public void A_template_of_the_operator_replaces_the_checkpoints()
    {
        using ModelPlan plan = Open(new ModelOptions { Path = TinyModel.Folder, ChatTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}" });
        Assert.NotNull(plan.ChatTemplate);
        Assert.Throws<InvalidDataException>(() => Open(new ModelOptions { Path = TinyModel.Folder, ChatTemplate = "{% for %}" }));
        Assert.Throws<InvalidDataException>(() => Open(new ModelOptions { Path = TinyModel.Folder, ChatTemplate = "/no/such/template.jinja" }));
    }

    [Fact]
    public void A_broken_template_of_the_checkpoint_turns_chat_off_with_a_warning()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        string file = Path.Combine(folder, "tokenizer_config.json");
        File.WriteAllText(file, """{"bos_token":"<|begin|>","chat_template":"{% for m in %}"}""");
        using ModelPlan plan = Open(new ModelOptions { Path = folder });
        Assert.Null(plan.ChatTemplate);
        Assert.StartsWith("tokenizer_config.json: the chat template cannot be used, so chat is off: ", Assert.Single(plan.Warnings), StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(folder, "chat_template.jinja"), "{% if %}");
        using ModelPlan other = Open(new ModelOptions { Path = folder });
        Assert.StartsWith("chat_template.jinja: ", Assert.Single(other.Warnings), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokenizer.json", "{", "tokenizer.json is not valid JSON")]
    [InlineData("tokenizer.json", """{"model":{"type":"Sorcery"}}""", "tokenizer.json: model has the unknown type")]
    [InlineData("tokenizer.json", """{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?<=a+)b"},"behavior":"Isolated"},"model":{"type":"BPE","vocab":{},"merges":[]}}""", "tokenizer.json: regular expression")]
    [InlineData("tokenizer_config.json", "[]", "tokenizer_config.json")]
    public void A_tokenizer_that_cannot_be_used_is_named_by_its_file(string file, string content, string message)
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        File.WriteAllText(Path.Combine(folder, file), content);
        var error = Assert.Throws<TokenizerException>(() => Open(new ModelOptions { Path = folder }));
        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(folder, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ignoring_the_checkpoints_sampling_defaults_leaves_none()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        File.WriteAllText(Path.Combine(folder, "generation_config.json"), """{"do_sample":true,"temperature":0.5}""");
        using ModelPlan used = Open(new ModelOptions { Path = folder });
        Assert.Equal(0.5f, used.Defaults.Temperature);
        using ModelPlan ignored = Open(new ModelOptions { Path = folder, GenerationConfig = "none" });
        Assert.Null(ignored.Defaults.Temperature);
    }

    [Theory]
    [InlineData("int4", 4)]
    [InlineData("int8", 8)]
    public void A_quantised_cache_has_blocks_of_32_and_a_policy_that_packs(string type, int bits)
    {
        using ModelPlan plain = Open(new ModelOptions { Path = TinyModel.Folder });
        using ModelPlan plan = Open(new ModelOptions { Path = TinyModel.Folder, KvCache = new KvCacheOptions { Dtype = type } });
        EngineOptions options = plan.EngineOptions(new EngineSection(), new AdmissionOptions());
        Assert.Equal((bits, 32, plain.KvType), (options.KvPackedBits, options.BlockSize, options.KvType));
        Assert.Equal(bits, plan.Policy.Packing.Bits);
        Assert.Equal(0, plan.Memory.PoolBytes % new KvBlockFormat(plan.KvType, 32, plan.Checkpoint.Config.HeadDim, plan.Layout.LanesPerGroup, bits).BlockBytes);
        Assert.NotEqual(plain.OutputFacts, plan.OutputFacts);
        Assert.True(plain.Policy.Packing.IsNone);
    }

    [Fact]
    public void A_window_beyond_the_served_context_refuses_no_policy()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        string file = Path.Combine(folder, "config.json");
        File.WriteAllText(file, File.ReadAllText(file)
            .Replace("LlamaForCausalLM", "MistralForCausalLM", StringComparison.Ordinal).Replace("\"llama\"", "\"mistral\"", StringComparison.Ordinal)
            .Replace("{\"", "{\"sliding_window\":256,\"", StringComparison.Ordinal));
        Assert.Contains("sliding window of 256 slots", Assert.Throws<CheckpointException>(
            () => Open(new ModelOptions { Path = folder, KvCache = new KvCacheOptions { Policy = "fast-gen" } })).Message, StringComparison.Ordinal);
        using ModelPlan plan = Open(new ModelOptions { Path = folder, MaxModelLen = 256, KvCache = new KvCacheOptions { Policy = "fast-gen" } });
        Assert.Equal("fast-gen", plan.Policy.Name);
        Assert.Contains("sim-layer-kv", plan.Policies.Names);

        // A pool too small for the checkpoint's context has the same effect.
        var layered = new ModelOptions { Path = folder, KvCache = new KvCacheOptions { Grouping = "head" } };
        using ModelPlan whole = Open(layered), cut = ModelPlan.Open(layered, new EngineSection(), NoVariables, DeviceRoom.Host(1L << 30), 256 * 256);
        Assert.Equal(["full"], whole.Policies.Names);
        Assert.Equal(256, cut.Memory.MaxModelLength);
        Assert.Equal(KvPolicyRegistry.Names.Where(name => name != "lckv"), cut.Policies.Names);
        Assert.True(cut.Memory.SumBytes > 0);
        Assert.Equal(0, whole.Memory.SumBytes);
        Assert.Equal(cut.Policies.Sums, cut.EngineOptions(new EngineSection(), new AdmissionOptions()).Sums);
    }

    [Fact]
    public void A_model_whose_policy_asks_each_query_head_has_memory_for_each()
    {
        KvCacheOptions Of(string gqa) => new() { Policy = "fast-gen", PolicyOptions = new Dictionary<string, string> { ["gqa"] = gqa } };
        using ModelPlan mean = Open(new ModelOptions { Path = TinyModel.Folder, KvCache = Of("mean") });
        using ModelPlan each = Open(new ModelOptions { Path = TinyModel.Folder, KvCache = Of("min") });
        int heads = mean.Checkpoint.Config.Heads / mean.Checkpoint.Config.KvHeads;
        Assert.Equal((1 + heads) * mean.Memory.SumBytes, each.Memory.SumBytes);
        Assert.Equal(each.Policies.Sums, each.EngineOptions(new EngineSection(), new AdmissionOptions()).Sums);
    }

    [Fact]
    public void What_decides_the_output_is_told_apart()
    {
        using ModelPlan one = Open(new ModelOptions { Path = TinyModel.Folder });
        using ModelPlan same = Open(new ModelOptions { Path = TinyModel.Folder });
        using ModelPlan other = Open(new ModelOptions { Path = TinyModel.Folder, KvCache = new KvCacheOptions { Dtype = "bfloat16" } });
        Assert.Equal(one.OutputFacts, same.OutputFacts);
        Assert.NotEqual(one.OutputFacts, other.OutputFacts);
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        string weights = Path.Combine(folder, "model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        using (ModelPlan copy = Open(new ModelOptions { Path = folder, Names = ["another-name"] }))
            Assert.Equal(one.OutputFacts, copy.OutputFacts);
        bytes[^1] ^= 1;
        File.WriteAllBytes(weights, bytes);
        using ModelPlan changed = Open(new ModelOptions { Path = folder });
        Assert.NotEqual(one.OutputFacts, changed.OutputFacts);
    }

    private static ModelPlan Open(ModelOptions options) => ModelPlan.Open(options, new EngineSection(), NoVariables, DeviceRoom.Host(1L << 30), null);
}
