namespace InferenceService.Compute;

/// <summary>Sums over attention rows that a policy may ask for. They cost nothing when not asked for.</summary>
[Flags]
public enum AttentionSums
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>c[slot] += mean over the query heads of a KV head of A[row, slot], over all rows of the step (FastGen, arXiv:2310.01801).</summary>
    Columns = 1,
}

/// <summary>Which sums attention accumulates this step, and where. <c>default</c> asks for none.</summary>
/// <param name="Wanted">The sums.</param>
/// <param name="ColumnSums">f32 [rows, slots]: row = SequenceRow[s] + <paramref name="LayerRow"/> + kvHead; slots as in the lane before the step's compaction.</param>
/// <param name="SequenceRow">i32 [1, sequences]: first row of sequence s, or −1 when it is not observed.</param>
/// <param name="LayerRow">Rows that the layers before this one take.</param>
public readonly record struct AttentionProbe(AttentionSums Wanted, Tensor ColumnSums, Tensor SequenceRow, int LayerRow);
