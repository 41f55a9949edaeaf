using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Devices;

namespace InferenceService.Server.Tests.Configuration;

public sealed class KvCacheRulesTests : IDisposable
{
    private const string Section = "INFERENCE__Models__0__KvCache__";

    private readonly string _folder = Directory.CreateTempSubdirectory("inference-policy-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("AllowedPolicies", "full,stream-llm", Section + "AllowedPolicies: \"stream-llm\" is not one of fast-gen, full, lckv, sim-layer-kv, streaming-llm; did you mean streaming-llm?")]
    [InlineData("PolicyOptions__sink_token", "4", Section + "PolicyOptions__sink_token: \"sink_token\" is an option that streaming-llm does not have; did you mean sink_tokens?")]
    [InlineData("PolicyOptions__sink_tokens", "-1", Section + "PolicyOptions__sink_tokens: sink_tokens must be a whole number from 0 to 65536, got \"-1\"")]
    [InlineData("PolicyBounds__recent", "1,2", Section + "PolicyBounds__recent: \"recent\" is an option that no policy has; did you mean recent_tokens?")]
    [InlineData("PolicyBounds__recent_tokens", "9", Section + "PolicyBounds: \"9\" is not a range of recent_tokens; write low,high")]
    [InlineData("PolicyBounds__recent_tokens", "9,1", Section + "PolicyBounds: \"9,1\" is not a range of recent_tokens; write low,high")]
    [InlineData("PolicyBounds__mode", "0,1", Section + "PolicyBounds: mode is one of a few words and has no bounds")]
    [InlineData("PolicyBounds__recent_tokens", "1,64", Section + "PolicyBounds: recent_tokens must be from 1 to 64 here, and is 1020 by default, and streaming-llm is the policy of this model")]
    [InlineData("PolicyOptions__key_bits", "4", Section + "PolicyOptions__key_bits: 4 needs blocks of 4 bits; set --kv-cache-dtype int4 (Models:0:KvCache:Dtype)")]
    [InlineData("PolicyOptions__value_bits", "4", Section + "PolicyOptions__value_bits: 4 needs blocks of 4 bits; set --kv-cache-dtype int4 (Models:0:KvCache:Dtype)")]
    [InlineData("Grouping", "heads", Section + "Grouping: \"heads\" is not one of auto, model, layer, head; did you mean head?")]
    [InlineData("Policy__name", "full", Section + "Policy__name is not a setting: Models:0:KvCache:Policy takes a value, not a section")]
    public void What_cannot_be_names_itself_and_the_nearest_name(string name, string value, string problem)
    {
        ConfigurationReading reading = Read(["--kv-policy", "streaming-llm"], (Section + name, value));
        Assert.Equal([problem], reading.Problems);
    }

    [Theory]
    [InlineData("{", "is not valid JSON")]
    [InlineData("[]", "is not a JSON object")]
    [InlineData("{\"sink_tokens\":4}", "needs its name as a string")]
    [InlineData("{\"name\":\"full\",\"sink_tokens\":[4]}", "needs a number, true, false or a word for its option sink_tokens, got an array of 1")]
    [InlineData("{\"name\":\"ful\"}", "--kv-policy-file: \"ful\" is not one of")]
    [InlineData("{\"name\":\"streaming-llm\",\"recent_tokens\":0}", "--kv-policy-file: recent_tokens must be")]
    public void A_policy_file_that_cannot_be_used_is_one_problem(string content, string problem)
    {
        string file = Write("policy.json", content);
        string line = Assert.Single(Read(["--kv-policy-file", file]).Problems);
        Assert.StartsWith("--kv-policy-file: ", line, StringComparison.Ordinal);
        Assert.Contains(problem, line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("key_bits", "4", 4)]
    [InlineData("value_bits", "4", 4)]
    [InlineData("key_bits", "16", 0)]
    [InlineData("value_bits", "16", 0)]
    public void One_of_the_two_bits_stands_for_both(string option, string bits, int packing)
    {
        ConfigurationReading reading = Read(["--kv-cache-dtype", "int4"], (Section + "PolicyOptions__" + option, bits));
        Assert.Empty(reading.Problems);
        KvCacheOptions options = reading.Options.Models[0].KvCache;
        Assert.Equal(packing, KvPolicyRegistry.Create(options.Policy, options.OptionsOf(options.Policy)).Packing.Bits);
        Assert.Equal(packing, KvPolicyRegistry.Create("full", new Dictionary<string, string> { [option] = bits }).Packing.Bits);
    }

    [Fact]
    public void A_missing_policy_file_and_two_policies_are_problems()
    {
        Assert.Equal([$"--kv-policy-file: {_folder}/none.json cannot be read"], Read(["--kv-policy-file", _folder + "/none.json"]).Problems);
        string file = Write("policy.json", """{"name":"full"}""");
        Assert.Equal(["--kv-policy and --kv-policy-file exclude each other"], Read(["--kv-policy-file", file, "--kv-policy", "full"]).Problems);
    }

    [Fact]
    public void Options_follow_the_policy_they_were_written_for()
    {
        Write("appsettings.json", """{"Models":[{"KvCache":{"Policy":"streaming-llm","PolicyOptions":{"sink_tokens":8,"recent_tokens":56},"PolicyBounds":{"recent_tokens":[8,64]}}}]}""");
        KvCacheOptions own = Read([]).Options.Models[0].KvCache;
        Assert.Equal(("streaming-llm", "8", "56", "8,64"), (own.Policy, own.PolicyOptions["sink_tokens"], own.PolicyOptions["recent_tokens"], own.PolicyBounds["recent_tokens"]));
        KvCacheOptions refined = Read([], (Section + "PolicyOptions__recent_tokens", "60")).Options.Models[0].KvCache;
        Assert.Equal(("8", "60"), (refined.PolicyOptions["sink_tokens"], refined.PolicyOptions["recent_tokens"]));
        ConfigurationReading other = Read(["--kv-policy", "full"]);
        Assert.Empty(other.Problems);
        Assert.Empty(other.Options.Models[0].KvCache.PolicyOptions);
    }

    [Theory]
    [InlineData("full", "", "auto", KvGrouping.Model)]
    [InlineData("sim-layer-kv", "", "auto", KvGrouping.Layer)]
    [InlineData("full", "full,streaming-llm,sim-layer-kv,fast-gen", "auto", KvGrouping.Head)]
    [InlineData("streaming-llm", "sim-layer-kv", "auto", KvGrouping.Layer)]
    [InlineData("full", "", "head", KvGrouping.Head)]
    public void The_layout_is_as_coarse_as_the_named_policies_permit(string policy, string allowed, string grouping, KvGrouping expected)
    {
        using ModelPlan plan = Open(policy, allowed, grouping);
        Assert.Equal(expected, plan.Layout.Grouping);
        IEnumerable<string> accepted = KvPolicyRegistry.Names.Where(name => name != "lckv" && KvPolicyRegistry.Create(name).Layout(plan.Checkpoint.Config).Grouping <= expected);
        Assert.Equal(allowed.Length == 0 ? accepted : accepted.Intersect([policy, .. allowed.Split(',')]), plan.Policies.Names);
    }

    [Theory]
    [InlineData("fast-gen", "", "model", "KvCache:Grouping: model is too coarse for the KV policy fast-gen, which needs head; leave it at auto.")]
    [InlineData("full", "sim-layer-kv", "model", "KvCache:Grouping: model is too coarse for the KV policy sim-layer-kv, which needs layer; leave it at auto.")]
    [InlineData("full", "lckv", "auto", "KV policy lckv needs a checkpoint whose layers share caches (layer_types of lckv-llama); in this one each layer has its own.")]
    public void Policies_that_this_checkpoint_or_grouping_cannot_serve_fail_the_start(string policy, string allowed, string grouping, string message) =>
        Assert.Equal(message, Assert.Throws<CheckpointException>(() => Open(policy, allowed, grouping)).Message);

    [Theory]
    [InlineData("int8", 8)]
    [InlineData("int4", 4)]
    public void Quantised_blocks_hold_whole_groups_of_tokens(string type, int bits)
    {
        var cache = new KvCacheOptions { Dtype = type };
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        using ModelPlan plan = ModelPlan.Open(new ModelOptions { Path = TinyModel.Folder, KvCache = cache }, new EngineSection { BlockSize = 40 }, environment, DeviceRoom.Host(1L << 30), null);
        Assert.Equal((64, bits), (plan.BlockSize, plan.Policy.Packing.Bits));
        Assert.Equal($"--block-size: 40 is raised to 64, because --kv-cache-dtype {type} quantises 32 tokens at once.", Assert.Single(plan.Warnings));
        // Heads of 8 are short of a group of 32 channels, so that 8 bits gain nothing here.
        Assert.Equal(bits == 4, plan.Memory.RestingBlocks < plan.Memory.SequenceBlocks);
    }

    private static ModelPlan Open(string policy, string allowed, string grouping)
    {
        var cache = new KvCacheOptions { Policy = policy, AllowedPolicies = allowed.Split(',', StringSplitOptions.RemoveEmptyEntries), Grouping = grouping };
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        return ModelPlan.Open(new ModelOptions { Path = TinyModel.Folder, KvCache = cache }, new EngineSection(), environment, DeviceRoom.Host(1L << 30), null);
    }

    private ConfigurationReading Read(string[] args, params (string Name, string Value)[] variables) => ConfigurationReading.Read(
        CommandLine.Parse(args), new ProcessEnvironment { Variables = variables.ToDictionary(entry => entry.Name, entry => entry.Value) }, _folder);

    private string Write(string name, string content)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, content);
        return path;
    }
}
