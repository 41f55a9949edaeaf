using System.Globalization;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache;

/// <summary>Says in one string all that changes K and V besides the tokens, for the root of prefix keys.</summary>
internal static class KvContent
{
    /// <summary>Model, layout, rope mode, weight format, block format, and how prompts are encoded where that matters.</summary>
    public static string Describe(DecoderModel model, KvBlockFormat format, int promptChunk)
    {
        ModelConfig config = model.Config;
        string sources = string.Join('_', model.Layout.SourceLayer);
        string encoding = model.Layout.IsCyclic ? string.Create(CultureInfo.InvariantCulture, $"{config.PromptPasses} passes, chunks of {promptChunk}") : "";
        string masks = $"{string.Join('_', config.Windows)}|{config.ForceNoDiagonal}|{encoding}";
        return string.Create(CultureInfo.InvariantCulture,
            $"{config.Architecture}|{config.Layers}x{config.HiddenSize}|{config.Rope}|abs|{sources}|{masks}|{model.Layout.Grouping}|{model.Weights.Format}|{format}");
    }
}
