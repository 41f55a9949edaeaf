using InferenceService.Fuzz.Loop;
using InferenceService.Models;
using InferenceService.Models.Architectures;
using InferenceService.Models.Checkpoints;
using InferenceService.Models.Layers;

namespace InferenceService.Fuzz.Targets.Models;

/// <summary>config.json and generation_config.json, and all that is computed from them before a weight is read.</summary>
internal sealed class ModelConfigTarget(string golden) : FuzzTarget
{
    private const int MaxWeights = 1024 * 20; // the most layers, and a norm, a matrix and a bias for everything that a layer may have

    public override string Name => "model-config";

    public override IReadOnlyList<string> Words => [.. ModelRegistry.Names, "linear", "dynamic", "llama3", "yarn", "longrope", "su", "default", "full_attention", "sliding_attention", "silu", "bfloat16", "1_1", "0_2_1"];

    public override IEnumerable<byte[]> Seeds()
    {
        const string Generation = """{"do_sample":true,"temperature":0.6,"top_p":0.9,"top_k":50,"min_p":0.05,"repetition_penalty":1.1,"max_new_tokens":128,"eos_token_id":[1,2],"bos_token_id":0}""";
        foreach (string folder in (string[])["architectures", "lckv"])
        {
            foreach (string file in Directory.GetFiles(Path.Combine(golden, folder), "config.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
                yield return Sections.Join(File.ReadAllText(file), Generation);
        }
    }

    // A model may have a thousand layers, each a dozen named weights.
    public override long MaxAllocated(int length) => (24 << 20) + (1024L * length);

    public override long MaxWork(int length) => 2_000_000 + (4_000L * length);

    public override bool Run(byte[] input)
    {
        (byte[] first, byte[] second) = Sections.Split(input);
        try
        {
            GenerationDefaults defaults = GenerationDefaults.FromJson(second);
            Require(defaults.Temperature is null or >= 0 && defaults.TopP is null or (> 0 and <= 1), "a default outside its range");
            ModelConfig config = ModelConfig.FromJson(first, second);
            Check(config);
            return true;
        }
        catch (CheckpointException e)
        {
            CheckMessage(e.Message, 600);
            return false;
        }
    }

    private static void Check(ModelConfig config)
    {
        Require(config.Heads % config.KvHeads == 0 && config.Windows.Length == config.Layers && config.UsesRope.Length == config.Layers, "a config contradicts itself");
        Require(config.KvSources.Length == config.Layers && config.KvSources.All(source => source >= 0 && source < config.Layers), "a layer reads one that is not there");
        Require(config.Rope.RotaryDim <= config.HeadDim && config.MaxPositions > 0, "a rotary embedding larger than a head");
        int count = 0;
        foreach (WeightSpec weight in DecoderWeights.Of(config).All())
            Require(weight.Rows > 0 && weight.Columns > 0 && ++count <= MaxWeights, "a weight without elements, or too many of them");
        foreach (double frequency in RotaryFrequencies.Of(config.Rope, config.MaxPositions))
            Require(double.IsFinite(frequency), "a rotary frequency is not finite");
        Require(double.IsFinite(RotaryFrequencies.AttentionFactor(config.Rope)), "the attention factor is not finite");
    }
}
