using InferenceService.Engine;
using InferenceService.Models.Checkpoints;
using InferenceService.Text.Templates;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Hosting;

/// <summary>One model as the routes see it: names, text side, engine.</summary>
public sealed class ServedModel
{
    /// <summary>Names under which clients may ask for it; the first is canonical.</summary>
    public required IReadOnlyList<string> Names { get; init; }

    /// <summary>Text to token ids and back.</summary>
    public required Tokenizer Tokenizer { get; init; }

    /// <summary>Messages to prompt; null when the checkpoint has no chat template.</summary>
    public required ChatTemplate? ChatTemplate { get; init; }

    /// <summary>JSON object of template variables that every chat request starts from; a request's own win. Null = none.</summary>
    public string? ChatTemplateDefaults { get; init; }

    /// <summary>Sampling defaults of the checkpoint, or none when configuration ignores them.</summary>
    public required GenerationDefaults Defaults { get; init; }

    /// <summary>The engine that runs it.</summary>
    public required InferenceEngine Engine { get; init; }

    /// <summary>When it was loaded.</summary>
    public required DateTimeOffset Created { get; init; }

    /// <summary>Prompt and output together, at most.</summary>
    public required int MaxModelLength { get; init; }

    /// <summary>Short hash over server version, model revision, quantisation and KV policy.</summary>
    public required string SystemFingerprint { get; init; }

    /// <summary>Default KV policy's name.</summary>
    public required string KvPolicy { get; init; }

    /// <summary>"none" until weights are quantised.</summary>
    public required string Quantization { get; init; }
}
