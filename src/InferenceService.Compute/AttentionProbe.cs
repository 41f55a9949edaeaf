namespace InferenceService.Compute;

/// <summary>Sums over attention rows that a policy may ask for, all means over the query heads of a KV head. They cost nothing when not asked for.</summary>
[Flags]
public enum AttentionSums
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>c[slot] += A[row, slot], over the observed rows of the step (FastGen, arXiv:2310.01801).</summary>
    Columns = 1,

    /// <summary>b[slot] += A[row, slot], over the observed rows less than a band of slots ahead: 0 ≤ row's slot − slot &lt; band.</summary>
    Band = 2,

    /// <summary>Attention on first and on recent slots together, summed over the observed rows (SimLayerKV, arXiv:2410.13846).</summary>
    RangeMass = 4,

    /// <summary>Columns and band, as far as they are asked for, once more for each query head alone, see <see cref="AttentionProbe.HeadRows"/>.</summary>
    Heads = 8,
}

/// <summary>Which sums attention accumulates this step, and where. <c>default</c> asks for none.</summary>
/// <remarks>Rows of the sums: SequenceRow[s] + <paramref name="LayerRow"/> + kvHead. A tensor of sums that no sequence wants may be <c>default</c>.</remarks>
/// <param name="Wanted">The sums that at least one sequence wants.</param>
/// <param name="ColumnSums">f32 [rows, slots]; slots as in the lane before the step's compaction.</param>
/// <param name="BandSums">f32 [rows, slots].</param>
/// <param name="RangeMass">f32 [rows, 1].</param>
/// <param name="SequenceRow">i32 [1, sequences]: first row of sequence s, or −1 when it is not observed.</param>
/// <param name="Observed">
/// i32 [sequences, 5]: which of the sums this sequence wants, as <see cref="AttentionSums"/>; first slot whose row is observed; band in
/// slots; sinkEnd; recentStart. The range of <see cref="AttentionSums.RangeMass"/> is [0, sinkEnd) ∪ [recentStart, ∞), a slot in both counted once.
/// </param>
/// <param name="LayerRow">Rows that the layers before this one take.</param>
public readonly record struct AttentionProbe(
    AttentionSums Wanted, Tensor ColumnSums, Tensor BandSums, Tensor RangeMass, Tensor SequenceRow, Tensor Observed, int LayerRow)
{
    /// <summary>
    /// With <see cref="AttentionSums.Heads"/>: query head g of a KV head adds to the row of that KV head + (1 + g) · this.
    /// </summary>
    public int HeadRows { get; init; }

    /// <summary>Columns of <see cref="Observed"/>.</summary>
    public const int ObservedFields = 5;
}
