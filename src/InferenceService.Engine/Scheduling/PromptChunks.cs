using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Scheduling;

/// <summary>How the prompts of a model are cut, and what that means for who may share their K and V.</summary>
/// <remarks>
/// A row of an ordinary model is the same however its prompt was cut. A layer that reads from above sees what earlier passes over
/// the same chunk left there, so K and V of such a model depend on where chunks begin and end: they begin at multiples of one size,
/// and only whole ones are shared, so that a prefix hit has the bits of a cold run. Tokens after the prompt are computed one by one,
/// which is exact; they are recomputed one by one after a preemption, and never stand for the same text in a longer prompt.
/// </remarks>
internal sealed class PromptChunks(KvLayout layout, int chunkTokens, int blockSize)
{
    /// <summary>Chunks have a fixed place, so that neither budget nor neighbours may move their ends.</summary>
    public bool AreFixed => layout.IsCyclic;

    /// <summary>Blocks that are shared together or not at all.</summary>
    public int UnitBlocks(KvMask mask) => layout.IsCyclic ? Size(mask) / blockSize : 1;

    /// <summary>First tokens of a prompt, at most <paramref name="tokens"/>, whose K and V equal those of any other prompt that begins with them.</summary>
    public int Shareable(Sequence sequence, int tokens)
    {
        if (!layout.IsCyclic)
            return tokens;
        int size = Size(sequence.Generation.Policy.Mask);
        return Math.Max(0, Math.Min(tokens, sequence.PromptLength)) / size * size;
    }

    /// <summary>Tokens of a sequence's next range where <see cref="AreFixed"/>.</summary>
    public int Next(Sequence sequence)
    {
        if (sequence.Computed >= sequence.PromptLength)
            return 1;
        int size = Size(sequence.Generation.Policy.Mask);
        return Math.Min(size - sequence.Computed % size, sequence.PromptLength - sequence.Computed);
    }

    /// <summary>What a range costs of the token budget: layers that a chunk goes through several times count as often.</summary>
    public int CostOf(int tokens) => layout.CostOf(tokens);

    /// <summary>Whole blocks; under a mask no more than what its memory allows.</summary>
    private int Size(KvMask mask) => Math.Max(blockSize, Math.Min(chunkTokens, mask.ChunkTokens(blockSize)) / blockSize * blockSize);
}
