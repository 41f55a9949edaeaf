using System.Collections.Immutable;
using System.Globalization;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>A policy whose survivors are quantised as well: what to keep is one question, in how many bits another.</summary>
internal sealed class PackedKvPolicy(IKvPolicy inner, KvPacking packing) : IKvPolicy
{
    /// <summary>Options of every policy.</summary>
    public static ImmutableArray<KvPolicyOption> Options { get; } =
    [
        KvPolicyOption.Choice("key_bits", "bits of an old key: 4 or 8, as the cache was loaded for, or 16: as computed; value_bits unless given", "16", "4", "8"),
        KvPolicyOption.Choice("value_bits", "bits of an old value; key_bits unless given, and never another number", "16", "4", "8") with { Default = null },
        KvPolicyOption.Count("residual_tokens", KvBlockFormat.PackedGroup, KvBlockFormat.PackedGroup, 65_536, "last tokens that stay as computed; a multiple of 32"),
    ];

    public string Name => inner.Name;

    public string Settings => string.Create(
        CultureInfo.InvariantCulture, $"{inner.Settings}{(inner.Settings.Length == 0 ? "" : ",")}key_bits={packing.Bits},value_bits={packing.Bits},residual_tokens={packing.Residual}");

    public KvMask Mask => inner.Mask;

    public KvPacking Packing => packing;

    public AttentionSums Sums => inner.Sums;

    /// <summary>The policy itself, or packed where its values say so.</summary>
    /// <exception cref="KvPolicyException">The values do not fit each other.</exception>
    public static IKvPolicy Of(IKvPolicy policy, KvPolicyValues values)
    {
        string? given = values.Number("value_bits") is null ? null : values.Word("value_bits");
        string key = values.IsGiven("key_bits") ? values.Word("key_bits") : given ?? values.Word("key_bits"), value = given ?? key;
        if (key != value)
            throw new KvPolicyException("value_bits", $"value_bits must equal key_bits, which is {key}, got {value}: a block's K and V are quantised together.");
        int residual = values.Count("residual_tokens");
        if (residual % KvBlockFormat.PackedGroup != 0)
            throw new KvPolicyException("residual_tokens", $"residual_tokens must be a multiple of {KvBlockFormat.PackedGroup}, got {residual}.");
        return key == "16" ? policy : new PackedKvPolicy(policy, new KvPacking(int.Parse(key, CultureInfo.InvariantCulture), residual));
    }

    public KvLayout Layout(ModelConfig model) => inner.Layout(model);

    public KvSelector? NewSelector(in KvSelectorContext context) => inner.NewSelector(context);
}
