using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Scheduling;

/// <summary>Brings sequences into the cache and out of it, so that the same tokens come out whatever happened in between.</summary>
/// <remarks>
/// A sequence that keeps everything is dropped on preemption and recomputed: a row's bits do not depend on chunking, and what is
/// still in the prefix cache costs nothing. A sequence with a selector is copied to host memory as it is, because what it kept
/// depends on every step so far; beyond the budget it is replayed from the start, prompt first, then one generated token a step
/// with a new selector, which repeats every decision. So is one whose blocks are packed. Engine thread only.
/// </remarks>
internal sealed class Residency(KvCache cache, KvSwap swap, SumStore sums, PromptChunks chunks, ModelConfig model, TokenClasses classes)
{
    private const int BlocksAhead = 64;

    /// <summary>Prompt tokens looked up in the prefix cache, each request once.</summary>
    public long PrefixQueryTokens { get; private set; }

    /// <summary>Of these, found.</summary>
    public long PrefixHitTokens { get; private set; }

    /// <summary>
    /// Gives a waiting sequence the blocks of all its known tokens but those found; of those of its prompt, where what follows depends on what was
    /// dropped or packed; at most of a chunk. False changes nothing.
    /// </summary>
    /// <param name="sequence">Waiting.</param>
    /// <param name="leave">Free blocks that it must leave to others; asked once it shares what it found, because that is what others may then have to copy.</param>
    /// <param name="chunk">Tokens of its first chunk, under a mask: a row sees the same whenever what is hidden from it was dropped.</param>
    /// <param name="error">Why the sequence must end; null otherwise.</param>
    public bool TryEnter(Sequence sequence, Func<int> leave, int chunk, out string? error)
    {
        error = null;
        if (sequence.Swapped is not null)
            return TryReturn(sequence, sequence.Swapped, leave());
        if (sequence.Selector is null && !TryPrepare(sequence, out error))
            return false;

        SequenceCache held = sequence.Cache!;
        int found = AttachPrefix(sequence, held);
        int known = (sequence.GoesTokenByToken ? sequence.PromptLength : sequence.TokenCount) - found;
        KvMask mask = sequence.Generation.Policy.Mask;
        // Under a mask it takes one chunk after the other, but soon has its sinks and its window too.
        int soon = mask.IsNone ? known : Math.Min(known, mask.Sinks + mask.Window + chunk);
        if (cache.BlocksToGrow(held, soon) > cache.Blocks.Free - leave())
        {
            cache.Release(held);
            return false;
        }

        CountPrefix(sequence, found);
        cache.Grow(held, Math.Min(known, chunk));
        sequence.Computed = found;
        if (sequence.Selector is not null && sequence.Selector.Sums != AttentionSums.None)
            Observe(held, sequence.Selector.Sums);
        return true;
    }

    /// <summary>Takes a sequence's blocks away; it can enter again without changing what it will say.</summary>
    public void Leave(Sequence sequence)
    {
        SequenceCache held = sequence.Cache!;
        // One that computed nothing yet (a choice put back before it shared its prompt) has nothing to copy; it enters as a new one.
        if ((sequence.Selector is not null || held.IsPacked) && sequence.Computed > 0)
        {
            sequence.Swapped = swap.TrySwapOut(held);
            if (sequence.Swapped is not null)
                return;
        }

        Restart(sequence);
    }

    /// <summary>As <see cref="Leave"/>, but nothing of what it holds is kept: it computes all of its tokens again.</summary>
    public void Restart(Sequence sequence)
    {
        Drop(sequence.Cache!);
        (sequence.Computed, sequence.DroppedSlots, sequence.PreviousSelector, sequence.Selector) = (0, 0, sequence.Selector, null);
    }

    /// <summary>A prepared sibling shares all blocks of a sequence whose prompt is computed.</summary>
    public void Fork(Sequence parent, Sequence child)
    {
        cache.Fork(parent.Cache!, child.Cache!);
        child.Computed = parent.Computed;
        if (parent.Cache!.SumRow < 0)
            return;
        Observe(child.Cache!, parent.Cache.Sums);
        sums.Copy(parent.Cache.Sums, parent.Cache.SumRow, child.Cache!.SumRow);
    }

    /// <summary>An ended sequence gives everything back.</summary>
    public void Release(Sequence sequence)
    {
        if (sequence.Swapped is not null)
            swap.Discard(sequence.Swapped);
        if (sequence.Cache is not null)
            Drop(sequence.Cache);
        (sequence.Swapped, sequence.Cache, sequence.Selector, sequence.PreviousSelector) = (null, null, null, null);
    }

    /// <summary>Creates the selector of a sequence that enters for the first time or is replayed. A policy that throws ends only this sequence.</summary>
    public bool TryPrepare(Sequence sequence, out string? error)
    {
        error = null;
        try
        {
            KvSelector? selector = sequence.Generation.Policy.NewSelector(new KvSelectorContext(
                model, cache.Layout, classes, sequence.PromptLength, sequence.PreviousSelector));
            if (selector is not null && (selector.Sums & ~sums.Kept) != 0)
                throw new InvalidOperationException($"it observes {selector.Sums}, and this engine has memory for {sums.Kept} (EngineOptions.Sums)");
            (sequence.Selector, sequence.PreviousSelector) = (selector, null);
        }
        catch (Exception failure) when (Generation.IsItsOwn(failure))
        {
            error = sequence.Generation.PolicyFault(failure);
            return false;
        }

        sequence.Cache ??= NewCache(sequence, sequence.Selector is not null);
        return true;
    }

    private void Observe(SequenceCache held, AttentionSums wanted)
    {
        held.Sums = wanted;
        held.SumRow = sums.Rent();
    }

    private bool TryReturn(Sequence sequence, SwappedKv swapped, int leave)
    {
        if (swapped.Blocks + swapped.BlocksToGrow(cache.Format.BlockSize) > cache.Blocks.Free - leave)
            return false;
        swap.SwapIn(swapped, sequence.Cache!);
        sequence.Swapped = null;
        return true;
    }

    private int AttachPrefix(Sequence sequence, SequenceCache held)
    {
        // Prompt log-probabilities need every prompt token to be computed by this sequence, observed attention the last ones.
        if (!cache.HasPrefixes || sequence.Generation.NeedsPromptLogprobs)
            return 0;
        sequence.ExtendPrefixKeys(cache.Format.BlockSize);
        int last = sequence.GoesTokenByToken
            ? sequence.PromptLength - Math.Max(1, sequence.Selector?.FreshPromptTokens ?? 0)
            : sequence.TokenCount - 1;
        int usable = chunks.Shareable(sequence, Math.Max(0, last)) / cache.Format.BlockSize;
        return cache.AttachPrefix(held, sequence.PrefixKeys[..usable], sequence.Generation.Policy.Mask, chunks.UnitBlocks(sequence.Generation.Policy.Mask));
    }

    private void CountPrefix(Sequence sequence, int found)
    {
        if (sequence.Generation.WasLookedUp || !cache.HasPrefixes)
            return;
        sequence.Generation.WasLookedUp = true;
        if (sequence.Generation.NeedsPromptLogprobs)
            return; // it looked for nothing
        PrefixQueryTokens += sequence.PromptLength;
        PrefixHitTokens += found;
    }

    private void Drop(SequenceCache held)
    {
        cache.Release(held);
        if (held.SumRow >= 0)
            sums.Return(held.SumRow);
        held.SumRow = -1;
    }

    private SequenceCache NewCache(Sequence sequence, bool tracksPositions)
    {
        int blocks = (sequence.TokenCount + Math.Min(sequence.Request.MaxTokens, BlocksAhead * cache.Format.BlockSize)) / cache.Format.BlockSize + 1;
        return new SequenceCache(cache.Layout.Groups, blocks, tracksPositions);
    }
}
