using System.Collections.Frozen;
using InferenceService.Models.Architectures;

namespace InferenceService.Models;

/// <summary>The architectures that can be served, by their name in <c>architectures</c> of config.json.</summary>
public static class ModelRegistry
{
    private static readonly FrozenDictionary<string, IArchitecture> Architectures = new Dictionary<string, IArchitecture>
    {
        [LckvLlamaModel.Name] = new LckvLlamaModel(),
        ["LlamaForCausalLM"] = new LlamaModel(),
        ["MistralForCausalLM"] = new MistralModel(),
        ["Phi3ForCausalLM"] = new Phi3Model(),
        ["Qwen2ForCausalLM"] = new Qwen2Model(),
        ["Qwen3ForCausalLM"] = new Qwen3Model(),
        ["SmolLM3ForCausalLM"] = new SmolLm3Model(),
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Their names, sorted.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Architectures.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The architecture of that name.</summary>
    /// <exception cref="CheckpointException">There is none; the message lists those there are.</exception>
    internal static IArchitecture Find(string name) => Architectures.TryGetValue(name, out IArchitecture? found)
        ? found
        : throw new CheckpointException(
            $"config.json: architecture {Quote.Value(name)} is not supported; supported are {string.Join(", ", Names)}.");
}
