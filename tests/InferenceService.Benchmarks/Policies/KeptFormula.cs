using System.Globalization;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Benchmarks.Policies;

/// <summary>Bytes that a sequence holds by the papers' formulas, without blocks: K and V of the slots that a policy keeps of each lane.</summary>
/// <remarks>
/// Of n tokens a lane keeps n, or min(n, S + R) under streaming-llm and in a lazy layer. A slot takes 2·d·s bytes; packed, its share of the
/// block that its child lies in, which the newest residual tokens, and full blocks only, are not. fast-gen decides by content: no formula.
/// </remarks>
internal static class KeptFormula
{
    private const int DefaultResidual = 32;

    /// <summary>Bytes of one sequence; null where content decides.</summary>
    /// <param name="setting">Policy and packing.</param>
    /// <param name="model">Shape.</param>
    /// <param name="layout">Lanes that own a cache.</param>
    /// <param name="format">A block of the pool.</param>
    /// <param name="tokens">Tokens computed.</param>
    public static double? Bytes(PolicySetting setting, ModelConfig model, KvLayout layout, KvBlockFormat format, int tokens)
    {
        int lanes = layout.OwnerLayers * layout.KvHeads;
        double whole = lanes * Lane(tokens, setting, format);
        int Option(string name, int byDefault) =>
            setting.Options.TryGetValue(name, out string? text) ? int.Parse(text, CultureInfo.InvariantCulture) : byDefault;
        int kept = Math.Min(tokens, Option("sink_tokens", 4) + Option("recent_tokens", 1020));
        switch (setting.Name)
        {
            case "full" or "lckv":
                return whole;
            case "streaming-llm":
                return lanes * Lane(kept, setting, format);
            case "sim-layer-kv" when setting.Options.TryGetValue("full_share", out string? share) && kept < tokens:
                int full = (int)Math.Round(double.Parse(share, CultureInfo.InvariantCulture) * layout.OwnerLayers, MidpointRounding.AwayFromZero);
                return layout.KvHeads * (full * Lane(tokens, setting, format) + (layout.OwnerLayers - full) * Lane(kept, setting, format));
            case "sim-layer-kv" when kept >= tokens:
                return whole;
            default:
                return null;
        }
    }

    /// <summary>Bytes of one slot of one lane.</summary>
    public static double Slot(KvBlockFormat format) => 2.0 * format.HeadDim * format.Type.Size();

    private static double Lane(int slots, PolicySetting setting, KvBlockFormat format)
    {
        if (setting.PackedBits == 0)
            return slots * Slot(format);
        int residual = setting.Options.TryGetValue("residual_tokens", out string? text) ? int.Parse(text, CultureInfo.InvariantCulture) : DefaultResidual;
        int packed = Math.Max(0, slots - residual) / format.BlockSize * format.BlockSize;
        return packed * ((double)format.BlockBytes / format.ChildrenPerBlock / format.Lanes / format.BlockSize) + (slots - packed) * Slot(format);
    }
}
