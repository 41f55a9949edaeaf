using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>What a selector may look at after a step. Must not outlive the call.</summary>
public readonly ref struct KvObservation
{
    /// <summary>Groups and lanes of the model.</summary>
    public required KvLayout Layout { get; init; }

    /// <summary>Ids by position, of <see cref="ComputedTokens"/>: a token behind them may not be known yet.</summary>
    public required ReadOnlySpan<int> Tokens { get; init; }

    /// <summary>Prompt length in tokens.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Tokens whose K and V have been computed so far.</summary>
    public required int ComputedTokens { get; init; }

    /// <summary>[groups] slots in use.</summary>
    public required ReadOnlySpan<int> Lengths { get; init; }

    /// <summary>
    /// [ownerLayers × kvHeads, slots], row-major with stride <see cref="SumStride"/>: what each slot received from the observed rows,
    /// summed since the first of them; empty when the step's <see cref="KvWatch"/> did not ask for it. Where it asked for
    /// <see cref="Compute.AttentionSums.Heads"/> as many rows for query head 0 of each lane follow, then for query head 1, and so on.
    /// </summary>
    public required ReadOnlySpan<float> ColumnSums { get; init; }

    /// <summary>As <see cref="ColumnSums"/>, of the rows within the band only. Not kept up to date once slots have moved.</summary>
    public ReadOnlySpan<float> BandSums { get; init; }

    /// <summary>[ownerLayers × kvHeads] attention on first and recent slots, summed over the observed rows; empty when not asked for.</summary>
    public ReadOnlySpan<float> RangeMass { get; init; }

    /// <summary>Elements from one row of <see cref="ColumnSums"/> to the next.</summary>
    public required int SumStride { get; init; }

    /// <summary>[groups][slots] position of each slot.</summary>
    internal int[][]? SlotPositions { get; init; }

    /// <summary>[slots] position in the text of each slot of a group, in slot order; −1 where a slot of the gap holds nothing.</summary>
    public ReadOnlySpan<int> Positions(int group) => SlotPositions is null ? [] : SlotPositions[group].AsSpan(0, Lengths[group]);

    /// <summary>True once the whole prompt is computed.</summary>
    public bool PromptComplete => ComputedTokens >= PromptTokens;
}
