using InferenceService.Fuzz.Loop;
using InferenceService.Fuzz.Targets.Files;
using InferenceService.Fuzz.Targets.Http;
using InferenceService.Fuzz.Targets.Models;
using InferenceService.Fuzz.Targets.Text;

namespace InferenceService.Fuzz.Targets;

/// <summary>All targets, the quick ones first.</summary>
internal static class TargetList
{
    /// <summary>How each is made; the argument is the repository's <c>tests/golden</c>.</summary>
    public static IReadOnlyDictionary<string, Func<string, FuzzTarget>> All { get; } = new Dictionary<string, Func<string, FuzzTarget>>
    {
        ["safetensors"] = _ => new SafetensorsTarget(),
        ["packed-weights"] = _ => new PackedTarget(),
        ["shard-index"] = _ => new ShardIndexTarget(),
        ["key-file"] = _ => new KeyFileTarget(),
        ["kv-policy"] = _ => new PolicyFileTarget(),
        ["hub"] = _ => new HubTarget(),
        ["completions"] = _ => new CompletionsTarget(),
        ["chat"] = _ => new ChatTarget(),
        ["tokenize"] = _ => new TokenizeTarget(),
        ["events"] = _ => new EventsTarget(),
        ["pipeline"] = _ => new PipelineTarget(admin: false),
        ["admin"] = _ => new PipelineTarget(admin: true),
        ["model-config"] = golden => new ModelConfigTarget(golden),
        ["encode"] = golden => new EncodeTarget(golden),
        ["template"] = golden => new TemplateTarget(golden),
        ["tokenizer"] = golden => new TokenizerTarget(golden),
        ["settings"] = _ => new SettingsTarget(),
    };
}
