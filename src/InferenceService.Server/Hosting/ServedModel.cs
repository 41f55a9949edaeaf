using System.Security.Cryptography;
using System.Text;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
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

    /// <summary>What decides the output besides the request: server version, model revision, quantisation and types.</summary>
    public required string OutputFacts { get; init; }

    /// <summary>The KV policies that it can serve.</summary>
    public required PolicyMenu Policies { get; init; }

    /// <summary>"none" until weights are quantised.</summary>
    public required string Quantization { get; init; }

    /// <summary>Where it runs: "cpu" or "cuda".</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>Short hash over <see cref="OutputFacts"/> and a KV policy: answers with equal ones come from the same computation.</summary>
    public string Fingerprint(IKvPolicy policy)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes($"{OutputFacts}|{policy.Name}({policy.Settings})"), hash);
        return "fp_" + Convert.ToHexStringLower(hash[..6]);
    }
}
