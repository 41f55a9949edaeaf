using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Scheduling;

/// <summary>Free blocks that are spoken for: what compression after the step copies into before it frees any, and what the running sequences soon grow into.</summary>
/// <remarks>The first is kept in <see cref="Batch.Reserved"/> and nobody may have it; the second only those who run already. Engine thread only.</remarks>
internal sealed class Headroom(KvCache cache, KvPacker packer, Roster roster)
{
    private Batch _batch = null!; // given by Begin
    private long _sharings; // state of sharing for which the batch's reserve was counted

    /// <summary>Blocks that a running sequence may take.</summary>
    public int Free => cache.Blocks.Free - _batch.Reserved;

    /// <summary>A step begins, with an empty batch.</summary>
    public void Begin(Batch batch) => (_batch, _sharings) = (batch, cache.Blocks.Sharings);

    /// <summary>Blocks that compression of a sequence may need once it computed <paramref name="count"/> more tokens: copies of those that others hold too.</summary>
    public int Of(Sequence sequence, int count)
    {
        if (sequence.Computed + count < sequence.PromptLength)
            return 0;
        KvSelector? selector = sequence.Selector;
        int copies = selector is { Gathers: true } ? Math.Min(cache.SharedBlocks(sequence.Cache!), selector.MayWrite(sequence.Cache!.BlockCount)) : 0;
        return copies + packer.Reserve(sequence.Cache!, count, sequence.Packing, selector);
    }

    /// <summary>The same for a choice that shares all blocks of its prompt's owner. Without a selector the owner packs before it shares.</summary>
    public int OfRider(Sequence owner)
    {
        int blocks = owner.Cache!.BlockCount;
        return owner.Selector is null ? 0 : owner.Selector.MayWrite(blocks) + packer.ReserveShared(blocks, owner.Packing);
    }

    /// <summary>Blocks that a sequence which enters must leave free. Asked once it shares the prefix it found, which others may then have to copy.</summary>
    public int LeftByNewcomers()
    {
        if (_sharings != cache.Blocks.Sharings)
            Recount();
        return _batch.Reserved + Soon();
    }

    /// <summary>A block that somebody began to share must be copied by whoever writes it after this step, and was not when it was scheduled.</summary>
    private void Recount()
    {
        _sharings = cache.Blocks.Sharings;
        _batch.Reserved = 0;
        Sequence? owner = null;
        foreach (ref readonly BatchItem item in _batch.Items)
        {
            _batch.Reserved += item.IsRider ? OfRider(owner!) : Of(item.Sequence, item.Count);
            owner = item.IsRider ? owner : item.Sequence;
        }
    }

    /// <summary>
    /// Blocks that the running sequences may soon need, so that taking the last ones would only preempt somebody; of those that are packed
    /// already a child a group, because they give a full block back about when they need one.
    /// </summary>
    private int Soon()
    {
        int groups = cache.Layout.Groups, full = 0, packed = 0;
        for (int i = 0; i < roster.Running.Count; i++)
        {
            Sequence sequence = roster.Running[i];
            if (sequence.Cache!.IsPacked && sequence.Selector is not { Gathers: true })
                packed += groups;
            else
                full += groups * Soon(sequence, sequence.Generation.Policy.Mask);
        }

        return full + packer.BlocksFor(packed);
    }

    /// <summary>
    /// The same of one group of a sequence: a block; under a mask all that are missing to its window while its prompt runs, and none
    /// once the window is full, because it then gives a block back before it needs one.
    /// </summary>
    private int Soon(Sequence sequence, KvMask mask)
    {
        int blockSize = cache.Format.BlockSize, held = sequence.Cache!.Tables[0].Count;
        if (mask.IsNone)
            return 1;
        int prompt = Math.Max(0, sequence.PromptLength - sequence.Computed) / blockSize;
        return Math.Clamp(mask.SteadyBlocks(blockSize) - held, 0, 1 + prompt);
    }
}
