using System.Collections.Immutable;
using InferenceService.Models.Architectures;

namespace InferenceService.Models.Checkpoints;

/// <summary>Turns config.json and generation_config.json into a <see cref="ModelConfig"/>.</summary>
internal static class ModelConfigJson
{
    private const int MaxIds = 1024;

    /// <summary>Reads both; the second may be absent.</summary>
    /// <exception cref="CheckpointException">Unsupported, incomplete or out of range.</exception>
    public static ModelConfig Read(ConfigJson json, ConfigJson? generation)
    {
        ImmutableArray<string> names = json.OptionalTexts("architectures", 16) ?? [];
        if (names.IsEmpty)
            throw json.Error("architectures", "is missing or empty");
        string name = LckvLlamaModel.IsFamily(json) ? LckvLlamaModel.Name : names[0];
        IArchitecture architecture = ModelRegistry.Find(name);
        RefuseQuantisation(json);
        ModelConfig config = architecture.ReadConfig(json);
        return config with
        {
            Architecture = name,
            EosTokenIds = EosTokenIds(json, generation, config.VocabularySize),
            BosTokenId = FirstId(json, config.VocabularySize)
                ?? (generation is { } second ? FirstId(second, config.VocabularySize) : null),
        };
    }

    private static void RefuseQuantisation(ConfigJson json)
    {
        foreach (string field in (ReadOnlySpan<string>)["quantization_config", "compression_config"])
        {
            if (json.OptionalObject(field) is { } scheme)
                throw json.Error(field, $"names {Quote.Value(scheme.OptionalText("quant_method") ?? "a scheme")}; "
                    + "only weights stored as F32, F16 or BF16 are supported");
        }
    }

    /// <summary>The ids of both files. An id beyond the vocabulary can never be generated, so dropping it changes nothing.</summary>
    private static ImmutableArray<int> EosTokenIds(ConfigJson json, ConfigJson? generation, int vocabulary)
    {
        ImmutableArray<int> first = json.OptionalInts("eos_token_id", -1, int.MaxValue, MaxIds) ?? [];
        ImmutableArray<int> second = generation?.OptionalInts("eos_token_id", -1, int.MaxValue, MaxIds) ?? [];
        return [.. first.Concat(second).Where(id => id >= 0 && id < vocabulary).Distinct()];
    }

    private static int? FirstId(ConfigJson json, int vocabulary) =>
        json.OptionalInts("bos_token_id", -1, int.MaxValue, MaxIds) is [int id, ..] && id >= 0 && id < vocabulary ? id : null;
}
