using System.Globalization;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache;

/// <summary>Says in one string all that changes K and V besides the tokens, for the root of prefix keys.</summary>
internal static class KvContent
{
    /// <summary>Model, layout, rope mode and block format.</summary>
    public static string Describe(DecoderModel model, KvBlockFormat format)
    {
        ModelConfig config = model.Config;
        string sources = string.Join('_', model.Layout.SourceLayer);
        return string.Create(CultureInfo.InvariantCulture,
            $"{config.Architecture}|{config.Layers}x{config.HiddenSize}|{config.Rope}|abs|{sources}|{model.Layout.Grouping}|{format}");
    }
}
