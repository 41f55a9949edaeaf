using System.Globalization;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Benchmarks.Policies;

/// <summary>Bytes that a sequence should hold by the papers' formulas, in whole blocks.</summary>
/// <remarks>
/// Of n tokens a lane keeps n, or the first S and the last R of them under streaming-llm and in a lazy layer of sim-layer-kv; each of these
/// ranges rounded up to blocks of B slots. A block takes 2·B·d·s bytes; a packed one its share of the block that several children lie in: the full blocks
/// before the newest residual tokens, but not that of the sinks. fast-gen decides by content: no formula.
/// </remarks>
internal static class KeptFormula
{
    private const int DefaultResidual = 32;

    /// <summary>Bytes of one sequence; null where content decides.</summary>
    /// <param name="setting">Policy and packing.</param>
    /// <param name="layout">Lanes that own a cache.</param>
    /// <param name="format">A block of the pool.</param>
    /// <param name="tokens">Tokens computed.</param>
    public static double? Bytes(PolicySetting setting, KvLayout layout, KvBlockFormat format, int tokens)
    {
        int owners = layout.OwnerLayers, sinks = Option(setting, "sink_tokens", 4), recent = Option(setting, "recent_tokens", 1020);
        int residual = setting.PackedBits == 0 ? tokens : Option(setting, "residual_tokens", DefaultResidual);
        double whole = Lane(0, tokens, residual, format), few = sinks + recent < tokens ? Lane(sinks, recent, residual, format) : whole;
        double? layers = setting.Name switch
        {
            "full" or "lckv" => owners * whole,
            "streaming-llm" => owners * few,
            "sim-layer-kv" when setting.Options.TryGetValue("full_share", out string? share) => Mixed(owners, share, whole, few),
            _ => null,
        };
        return layers * layout.KvHeads;
    }

    /// <summary>Bytes of one block of one lane.</summary>
    public static double Block(KvBlockFormat format) => 2.0 * format.BlockSize * format.HeadDim * format.Type.Size();

    private static double Mixed(int owners, string share, double whole, double few)
    {
        double full = Math.Round(double.Parse(share, CultureInfo.InvariantCulture) * owners, MidpointRounding.AwayFromZero);
        return full * whole + (owners - full) * few;
    }

    private static double Lane(int sinks, int recent, int residual, KvBlockFormat format)
    {
        int blocks = Blocks(recent, format), packed = Math.Max(0, recent - residual) / format.BlockSize;
        double packedBlock = packed == 0 ? 0 : (double)format.BlockBytes / format.ChildrenPerBlock / format.Lanes;
        return (Blocks(sinks, format) + blocks - packed) * Block(format) + packed * packedBlock;
    }

    private static int Blocks(int slots, KvBlockFormat format) => (slots + format.BlockSize - 1) / format.BlockSize;

    private static int Option(PolicySetting setting, string name, int byDefault) =>
        setting.Options.TryGetValue(name, out string? text) ? int.Parse(text, CultureInfo.InvariantCulture) : byDefault;
}
