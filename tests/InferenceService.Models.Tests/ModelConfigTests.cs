using System.Text;
using System.Text.Json.Nodes;
using InferenceService.Compute;

namespace InferenceService.Models.Tests;

public sealed class ModelConfigTests
{
    /// <summary>The five fields that no family has defaults for.</summary>
    private const string Least =
        """{"architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":96,"num_hidden_layers":4,"num_attention_heads":4,"vocab_size":200}""";

    private static ModelConfig Read(string json) => ModelConfig.FromJson(Encoding.UTF8.GetBytes(json), []);

    /// <summary>The least config with fields replaced; a value of <c>~</c> takes the field out.</summary>
    private static string With(string architecture, params (string Field, string Json)[] changes)
    {
        JsonObject config = JsonNode.Parse(Least)!.AsObject();
        config["architectures"] = new JsonArray($"{architecture}ForCausalLM");
        foreach ((string field, string json) in changes)
        {
            if (json == "~")
                config.Remove(field);
            else
                config[field] = JsonNode.Parse(json);
        }

        return config.ToJsonString();
    }

    private static string Refusal(string json)
    {
        string message = Assert.Throws<CheckpointException>(() => Read(json)).Message;
        Assert.DoesNotContain('\n', message);
        Assert.InRange(message.Length, 10, 300);
        return message;
    }

    [Theory]
    [InlineData("Llama", 4, 16, 2048, 1e-6f, 10_000, false)]
    [InlineData("Mistral", 4, 16, 131072, 1e-6f, 10_000, false)]
    [InlineData("Phi3", 4, 16, 4096, 1e-5f, 10_000, false)]
    [InlineData("Qwen2", 4, 16, 32768, 1e-6f, 10_000, false)]
    [InlineData("Qwen3", 4, 128, 32768, 1e-6f, 10_000, false)]
    [InlineData("SmolLM3", 4, 16, 32768, 1e-6f, 2_000_000, true)]
    public void What_a_file_leaves_out_has_the_defaults_of_its_family(
        string architecture, int kvHeads, int headDim, int maxPositions, float epsilon, double theta, bool tied)
    {
        ModelConfig config = Read(With(architecture, ("num_key_value_heads", "4")));
        Assert.Equal($"{architecture}ForCausalLM", config.Architecture);
        Assert.Equal((kvHeads, headDim, maxPositions, epsilon), (config.KvHeads, config.HeadDim, config.MaxPositions, config.RmsNormEpsilon));
        Assert.Equal((theta, headDim, null), (config.Rope.Theta, config.Rope.RotaryDim, config.Rope.Scaling));
        Assert.Equal(tied, config.TiedEmbeddings);
        Assert.Equal((false, false, null), (config.AttentionBias, config.MlpBias, config.StatedType));
        Assert.Empty(config.EosTokenIds);
    }

    [Fact]
    public void Kv_heads_default_to_all_heads_or_to_what_the_family_says()
    {
        Assert.Equal(4, Read(With("Llama")).KvHeads);
        Assert.Equal(8, Read(With("Mistral", ("num_attention_heads", "16"))).KvHeads);
        Assert.Equal(16, Read(With("Mistral", ("num_attention_heads", "16"), ("num_key_value_heads", "null"))).KvHeads);
    }

    [Theory]
    [InlineData("Llama", "sliding_window", "8", "0 0 0 0")]
    [InlineData("Mistral", "sliding_window", "8", "8 8 8 8")]
    [InlineData("Mistral", "sliding_window", "null", "0 0 0 0")]
    [InlineData("Mistral", "sliding_window", "~", "4096 4096 4096 4096")]
    [InlineData("Phi3", "sliding_window", "~", "0 0 0 0")]
    [InlineData("Phi3", "sliding_window", "8", "8 8 8 8")]
    [InlineData("Qwen2", "sliding_window", "8", "0 0 0 0")]
    [InlineData("Qwen3", "sliding_window", "8", "0 0 0 0")]
    [InlineData("SmolLM3", "sliding_window", "8", "0 0 0 0")]
    public void Windows_follow_the_rule_of_the_family(string architecture, string field, string json, string expected) => Assert.Equal(
        expected, string.Join(' ', Read(With(architecture, ("num_key_value_heads", "4"), (field, json))).Windows));

    [Fact]
    public void Windows_that_must_be_asked_for_start_where_the_file_says()
    {
        (string, string) use = ("use_sliding_window", "true"), eight = ("sliding_window", "8");
        Assert.Equal("0 0 8 8", Windows("Qwen2", use, eight, ("max_window_layers", "2")));
        Assert.Equal("0 0 0 0", Windows("Qwen2", use, eight));
        Assert.Equal("0 0 0 0", Windows("Qwen2", use, ("sliding_window", "null"), ("max_window_layers", "2")));
        Assert.Equal("0 8 0 0", Windows("Qwen3", use, eight,
            ("layer_types", """["full_attention","sliding_attention","full_attention","full_attention"]""")));
        Assert.Equal("0 0 0 8", Windows("SmolLM3", use, eight));
        Assert.Equal("8 0 0 8", Windows("SmolLM3", use, eight, ("no_rope_layers", "[0,1,1,0]")));

        static string Windows(string architecture, params (string, string)[] changes) =>
            string.Join(' ', Read(With(architecture, [("num_key_value_heads", "4"), .. changes])).Windows);
    }

    [Theory]
    [InlineData("[1,0,1,1]", "~", "True False True True")]
    [InlineData("[1,0,1,1,0,0]", "~", "True False True True")]
    [InlineData("~", "2", "True False True False")]
    [InlineData("null", "~", "True True True False")]
    public void Layers_without_rope_are_listed_or_counted(string list, string interval, string expected) => Assert.Equal(
        expected, string.Join(' ', Read(With("SmolLM3", ("no_rope_layers", list), ("no_rope_layer_interval", interval))).UsesRope));

    [Theory]
    [InlineData("""{"type":"linear","factor":4}""", 2048, 8192)]
    [InlineData("""{"rope_type":"dynamic","factor":2.5}""", 2048, 5120)]
    [InlineData("""{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":1024}""", 4096, 4096)]
    [InlineData("""{"rope_type":"yarn","factor":4.0}""", 1024, 4096)]
    [InlineData("""{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":512}""", 4096, 4096)]
    [InlineData("""{"rope_type":"default"}""", 4096, 4096)]
    [InlineData("null", 4096, 4096)]
    public void The_context_is_the_stretched_one(string scaling, int stated, int expected) => Assert.Equal(
        expected, Read(With("Llama", ("max_position_embeddings", $"{stated}"), ("rope_scaling", scaling))).MaxPositions);

    [Fact]
    public void Old_and_new_spelling_of_rope_mean_the_same()
    {
        RopeConfig old = Read(With("Llama", ("rope_theta", "5e5"), ("rope_scaling", """{"type":"linear","factor":2}"""))).Rope;
        RopeConfig renewed = Read(With("Llama", ("rope_parameters", """{"rope_theta":500000,"rope_type":"linear","factor":2.0}"""))).Rope;
        Assert.Equal(old.Theta, renewed.Theta);
        Assert.Equal((old.Scaling!.Kind, old.Scaling.Factor), (renewed.Scaling!.Kind, renewed.Scaling.Factor));
    }

    [Fact]
    public void Longrope_takes_its_ratio_from_the_two_contexts()
    {
        string factors = string.Join(',', Enumerable.Repeat("1.5", 8));
        ModelConfig config = Read(With("Phi3", ("max_position_embeddings", "8192"), ("original_max_position_embeddings", "1024"),
            ("rope_scaling", $$"""{"type":"su","short_factor":[{{factors}}],"long_factor":[{{factors}}]}""")));
        Assert.Equal((RopeScaling.LongRope, 8.0, 1024), (config.Rope.Scaling!.Kind, config.Rope.Scaling.Factor, config.Rope.Scaling.OriginalMaxPositions));
        Assert.Equal(8192, config.MaxPositions);
    }

    [Theory]
    [InlineData("torch_dtype", "\"bfloat16\"", DType.BF16)]
    [InlineData("dtype", "\"float16\"", DType.F16)]
    [InlineData("dtype", "\"float32\"", DType.F32)]
    public void Both_spellings_of_the_stated_type_are_read(string field, string json, DType expected) =>
        Assert.Equal(expected, Read(With("Llama", (field, json))).StatedType);

    [Theory]
    [InlineData("7", "7")]
    [InlineData("[7,8,7]", "7 8")]
    [InlineData("[7,200]", "7")]
    [InlineData("-1", "")]
    [InlineData("null", "")]
    public void End_ids_may_be_one_or_many_and_those_beyond_the_vocabulary_cannot_occur(string json, string expected) =>
        Assert.Equal(expected, string.Join(' ', Read(With("Llama", ("eos_token_id", json))).EosTokenIds));

    [Theory]
    [InlineData("hidden_size", "~", "config.json: hidden_size is missing.")]
    [InlineData("hidden_size", "0", "config.json: hidden_size is 0; allowed: a whole number from 1 to 131072.")]
    [InlineData("hidden_size", "-3", "hidden_size is -3")]
    [InlineData("hidden_size", "1e300", "hidden_size is 1e300")]
    [InlineData("hidden_size", "64.5", "hidden_size is 64.5")]
    [InlineData("hidden_size", "\"64\"", "hidden_size is '64'")]
    [InlineData("hidden_size", "[64]", "hidden_size is a list of 1")]
    [InlineData("hidden_size", "65", "hidden_size is 65; allowed without head_dim: 2 to 1024 times num_attention_heads (4).")]
    [InlineData("intermediate_size", "2000000", "intermediate_size is 2000000; allowed: a whole number from 1 to 1048576.")]
    [InlineData("num_hidden_layers", "2147483647", "num_hidden_layers is 2147483647; allowed: a whole number from 1 to 1024.")]
    [InlineData("num_attention_heads", "0", "num_attention_heads is 0")]
    [InlineData("num_key_value_heads", "3", "num_key_value_heads is 3; allowed: divisors of num_attention_heads (4).")]
    [InlineData("num_key_value_heads", "8", "num_key_value_heads is 8; allowed: a whole number from 1 to 4.")]
    [InlineData("head_dim", "1", "head_dim is 1; allowed: a whole number from 2 to 1024.")]
    [InlineData("head_dim", "15", "partial_rotary_factor rotates 15 of 15 elements of a head; allowed: an even number above 0.")]
    [InlineData("partial_rotary_factor", "0", "partial_rotary_factor rotates 0 of 16")]
    [InlineData("partial_rotary_factor", "1.5", "partial_rotary_factor is 1.5; allowed: a number from 0 to 1.")]
    [InlineData("vocab_size", "99999999999", "vocab_size is 99999999999; allowed: a whole number from 1 to 16777216.")]
    [InlineData("max_position_embeddings", "0", "max_position_embeddings is 0; allowed: a whole number from 1 to 268435456.")]
    [InlineData("rms_norm_eps", "-1", "rms_norm_eps is -1; allowed: a number from 0 to 1.")]
    [InlineData("rope_theta", "1", "rope_theta is 1; allowed: a number from 1.001 to 1000000000000000.")]
    [InlineData("hidden_act", "\"gelu\"", "hidden_act is 'gelu'; allowed: silu.")]
    [InlineData("attention_bias", "\"yes\"", "attention_bias is 'yes'; allowed: true or false.")]
    [InlineData("architectures", "~", "architectures is missing or empty.")]
    [InlineData("architectures", "[]", "architectures is missing or empty.")]
    [InlineData("architectures", "\"LlamaForCausalLM\"", "architectures is 'LlamaForCausalLM'; allowed: a list of at most 16 strings.")]
    [InlineData("architectures", "[\"Mixtral\\nForCausalLM\"]", "architecture 'Mixtral?ForCausalLM' is not supported; supported are LCKVLlamaForCausalLM, LlamaForCausalLM,")]
    [InlineData("quantization_config", """{"quant_method":"gptq","bits":4}""", "quantization_config names 'gptq'; only weights stored as F32, F16 or BF16 are supported.")]
    [InlineData("quantization_config", "{}", "quantization_config names 'a scheme'")]
    [InlineData("eos_token_id", "[1,\"x\"]", "eos_token_id is 'x'; allowed: at most 1024 whole numbers from -1 to 2147483647.")]
    [InlineData("bos_token_id", "-2", "bos_token_id is -2")]
    [InlineData("rope_scaling", "{\"type\":\"ntk\"}", "rope_scaling.rope_type is 'ntk'; allowed: default, linear, dynamic, llama3, yarn, longrope.")]
    [InlineData("rope_scaling", "{\"type\":\"linear\"}", "rope_scaling.factor is missing.")]
    [InlineData("rope_scaling", "{\"type\":\"linear\",\"factor\":0.5}", "rope_scaling.factor is 0.5; allowed: a number from 1 to 65536.")]
    [InlineData("rope_scaling", "\"linear\"", "rope_scaling is 'linear'; allowed: an object.")]
    [InlineData("rope_scaling", "{\"type\":\"llama3\",\"factor\":8,\"high_freq_factor\":4}", "rope_scaling.low_freq_factor is missing.")]
    [InlineData("rope_scaling", "{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}", "rope_scaling.high_freq_factor is 4; allowed: above low_freq_factor (4).")]
    [InlineData("rope_scaling", "{\"type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1]}", "rope_scaling.short_factor is a list of 1; allowed: a list of 8 numbers.")]
    [InlineData("rope_scaling", "{\"type\":\"longrope\",\"long_factor\":[1]}", "rope_scaling.short_factor is missing.")]
    [InlineData("rope_scaling", "{\"type\":\"yarn\",\"factor\":65536,\"original_max_position_embeddings\":268435456}", "allowed: up to 268435456.")]
    [InlineData("rope_parameters", "{\"full_attention\":{\"rope_type\":\"default\"}}", "rope_parameters differs by layer type, which is not supported.")]
    public void A_bad_field_is_named_with_its_value_and_what_is_allowed(string field, string json, string expected) =>
        Assert.Contains(expected, Refusal(With("Llama", (field, json))), StringComparison.Ordinal);

    [Fact]
    public void The_cache_of_one_token_is_bounded() => Assert.Contains(
        "config.json: num_hidden_layers (1024) · KV heads (1024) · head size (128) exceeds 4194304.",
        Refusal(With("Llama", ("num_hidden_layers", "1024"), ("num_attention_heads", "1024"), ("head_dim", "128"))), StringComparison.Ordinal);

    [Theory]
    [InlineData("SmolLM3", "no_rope_layers", "[1,0]", "no_rope_layers has 2 entries; allowed: one for each of 4 layers.")]
    [InlineData("SmolLM3", "no_rope_layers", "[1,0,2,1]", "no_rope_layers is 2; allowed: at most 1024 whole numbers from 0 to 1.")]
    [InlineData("SmolLM3", "no_rope_layer_interval", "0", "no_rope_layer_interval is 0")]
    [InlineData("Mistral", "sliding_window", "0", "sliding_window is 0; allowed: a whole number from 1 to 2147483647.")]
    [InlineData("Mistral", "layer_types", "[\"full_attention\"]", "layer_types has 1 entries; allowed: one for each of 4 layers.")]
    [InlineData("Mistral", "layer_types", "[\"full_attention\",\"linear_attention\",\"x\",\"y\"]", "layer_types has 'linear_attention'; allowed: full_attention, sliding_attention.")]
    public void Fields_of_one_family_are_checked_as_well(string architecture, string field, string json, string expected) =>
        Assert.Contains(expected, Refusal(With(architecture, ("num_key_value_heads", "4"), (field, json))), StringComparison.Ordinal);

    [Theory]
    [InlineData("", "config.json: not valid JSON at line 1, byte 1.")]
    [InlineData("[]", "config.json: the JSON value is not an object.")]
    [InlineData("{} {}", "config.json: not valid JSON at line 1")]
    [InlineData("{\"hidden_size\":NaN}", "config.json: not valid JSON at line 1")]
    [InlineData("{\"architectures\":[\"\\ud800\"]}", "config.json: architectures is not valid text; allowed: strings.")]
    public void What_is_not_a_JSON_object_is_refused(string json, string expected) =>
        Assert.Contains(expected, Refusal(json), StringComparison.Ordinal);

    [Fact]
    public void Depth_is_bounded() => Refusal(string.Concat(Enumerable.Repeat("{\"a\":", 10_000)));

    [Fact]
    public void A_byte_order_mark_is_skipped() => Assert.Equal(64, Read('\uFEFF' + Least).HiddenSize);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Damage_at_random_is_refused_or_harmless_but_never_anything_else(bool shares)
    {
        const int seed = 99;
        var random = new Random(seed);
        byte[] whole = Encoding.UTF8.GetBytes(shares
            ? With("LCKVLlama", ("layer_types", "\"0_2s_2_3s\""), ("model_type", "\"lckv-llama\""), ("forward_passes", "7"), ("backward_passes", "2"),
                ("sliding_window", "8"), ("force_nodiag", "true"), ("use_sequential", "false"), ("target_layer", "2"), ("num_encoders", "8"))
            : With("SmolLM3", ("rope_scaling", """{"rope_type":"yarn","factor":4.0,"beta_fast":32}"""),
                ("no_rope_layers", "[1,0,1,1]"), ("eos_token_id", "[1,2]"), ("layer_types", """["full_attention","sliding_attention","full_attention","full_attention"]"""),
                ("sliding_window", "8"), ("use_sliding_window", "true")));
        int refused = 0;
        for (int i = 0; i < 2000; i++)
        {
            byte[] damaged = Fuzz.Damage(whole, random);
            try
            {
                _ = KvLayout.Of(ModelConfig.FromJson(damaged, []), KvGrouping.Head);
            }
            catch (CheckpointException)
            {
                refused++;
            }
            catch (Exception e)
            {
                Assert.Fail($"Seed {seed}, case {i}: {e.GetType().Name} for {Convert.ToHexString(damaged)}");
            }
        }

        Assert.InRange(refused, 1000, 2000);
    }

    [Theory]
    [InlineData("lckv-llama", "0_2_2_3", "", "0 2 2 3", "0 0 0 0", false, 9)]
    [InlineData("lckv-llama", "0s_1s_1_3s", "", "0 1 1 3", "4096 4096 0 4096", false, 9)]
    [InlineData("lckv-llama", "0s_0_2_2s", "sliding_window=7 forward_passes=3 backward_passes=1 force_nodiag=true", "0 0 2 2", "7 0 0 7", true, 4)]
    [InlineData("lckv-llama", null, "use_sequential=true", "0 1 2 3", "0 0 0 0", false, int.MaxValue)]
    [InlineData("opt-llama", "0_1_2_0", "target_layer=-2", "0 2 2 3", "0 0 0 0", true, 9)]
    [InlineData("opt-llama", "1_1_1_2", "num_encoders=5 num_trained_encoders=2", "3 3 3 3", "0 0 0 0", true, 6)]
    [InlineData("group-opt-llama", "0_2_2_3", "num_encoders=0 num_trained_encoders=0", "0 2 2 3", "0 0 0 0", true, 1)]
    [InlineData("cla-llama", "0_2_1_1", "", "0 1 1 1", "0 0 0 0", false, 9)]
    public void A_string_of_layer_types_says_whose_cache_a_layer_reads(
        string type, string? text, string fields, string sources, string windows, bool noDiagonal, int passes)
    {
        (string, string)[] changes =
        [
            ("model_type", $"\"{type}\""), ("layer_types", text is null ? "~" : $"\"{text}\""),
            .. fields.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(field => (field.Split('=')[0], field.Split('=')[1])),
        ];
        ModelConfig config = Read(With(type == "lckv-llama" ? "LCKVLlama" : "Llama", changes));
        Assert.Equal(("LCKVLlamaForCausalLM", sources, windows, noDiagonal, passes),
            (config.Architecture, string.Join(' ', config.KvSources), string.Join(' ', config.Windows), config.ForceNoDiagonal, config.PromptPasses));
    }

    [Fact]
    public void Layer_types_of_other_families_are_lists_with_another_meaning()
    {
        ModelConfig config = Read(With("Qwen3", ("layer_types", """["full_attention","sliding_attention","full_attention","full_attention"]"""),
            ("use_sliding_window", "true"), ("sliding_window", "8"), ("num_key_value_heads", "4")));
        Assert.Equal("0 1 2 3", string.Join(' ', config.KvSources));
        Assert.Equal("0 1 2 3", string.Join(' ', Read(With("Llama", ("layer_types", "\"0_0_0_0\""))).KvSources));
    }

    [Theory]
    [InlineData("lckv-llama", "\"0_1_2\"", "layer_types has 3 entries; allowed: one for each of 4 layers")]
    [InlineData("lckv-llama", "\"0_1_2_3_3\"", "layer_types has more entries; allowed: one for each of 4 layers")]
    [InlineData("lckv-llama", "\"\"", "layer_types has 1 entries; allowed: one for each of 4 layers")]
    [InlineData("lckv-llama", "\"0_1_2_4\"", "layer_types entry 3 is '4'; allowed: a layer from 0 to 3, then s if it slides")]
    [InlineData("lckv-llama", "\"0_1_2_99999999999999999999\"", "layer_types entry 3 is '99999999999999999999'")]
    [InlineData("lckv-llama", "\"0_-1_2_3\"", "layer_types entry 1 is '-1'")]
    [InlineData("lckv-llama", "\"0_ 1_2_3\"", "layer_types entry 1 is ' 1'")]
    [InlineData("lckv-llama", "\"0_1ss_2_3\"", "layer_types entry 1 is '1ss'")]
    [InlineData("lckv-llama", "\"0__2_3\"", "layer_types entry 1 is ''")]
    [InlineData("lckv-llama", "\"0_s_2_3\"", "layer_types entry 1 is 's'")]
    [InlineData("lckv-llama", "\"0_\u0661_2_3\"", "layer_types entry 1 is '\u0661'")]
    [InlineData("lckv-llama", "\"1_2_2_3\"", "layer_types entry 0 reads layer 1, which itself reads layer 2; allowed: layers that read themselves")]
    [InlineData("lckv-llama", "[\"full_attention\"]", "layer_types is a list of 1; allowed: a string")]
    [InlineData("lckv-llama", "7", "layer_types is 7; allowed: a string")]
    [InlineData("group-opt-llama", "\"0_1s_2_3\"", "layer_types entry 1 is '1s'; allowed: a layer from 0 to 3")]
    [InlineData("opt-llama", "\"0_1_2_0\"", "layer_types entry 2 is '2', but target_layer is layer 3; allowed: 0, 1")]
    [InlineData("opt-llama", "\"0_1_3_2\"", "layer_types entry 2 is '3'; allowed: 0, 1, 2")]
    [InlineData("cla-llama", "\"1_0_0_0\"", "layer_types entry 0 is '1', but no layer lies below; allowed: 0, 2")]
    [InlineData("cla-llama", "\"0_0_0_01\"", "layer_types entry 3 is '01'; allowed: 0, 1, 2")]
    public void A_string_of_layer_types_that_makes_no_sense_is_refused(string type, string json, string expected) =>
        Assert.Contains(expected, Refusal(With("Llama", ("model_type", $"\"{type}\""), ("layer_types", json))), StringComparison.Ordinal);

    [Theory]
    [InlineData("forward_passes", "-1", "forward_passes is -1; allowed: a whole number from 0 to 256")]
    [InlineData("forward_passes", "99999999999", "forward_passes is 99999999999; allowed: a whole number from 0 to 256")]
    [InlineData("backward_passes", "2.5", "backward_passes is 2.5")]
    [InlineData("sliding_window", "0", "sliding_window is 0; allowed: a whole number from 1")]
    [InlineData("force_nodiag", "1", "force_nodiag is 1; allowed: true or false")]
    [InlineData("use_sequential", "\"no\"", "use_sequential is 'no'; allowed: true or false")]
    public void A_field_of_shared_caches_out_of_range_is_refused(string field, string json, string expected)
    {
        Assert.Contains(expected, Refusal(With("LCKVLlama", ("layer_types", "\"0_1s_2_3\""), (field, json))), StringComparison.Ordinal);
        Assert.Contains("at least 1 pass", Refusal(With("LCKVLlama", ("forward_passes", "0"), ("backward_passes", "0"))), StringComparison.Ordinal);
        Assert.Contains("target_layer is -5", Refusal(With("Llama", ("model_type", "\"opt-llama\""), ("layer_types", "\"0_1_2_0\""), ("target_layer", "-5"))), StringComparison.Ordinal);
    }
}
