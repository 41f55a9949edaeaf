using System.Collections.Concurrent;
using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Scheduling;
using InferenceService.Models;

namespace InferenceService.Engine;

/// <summary>Measures what a choice holds when it ends, and counts by policy.</summary>
/// <param name="cache">Whose blocks are measured.</param>
/// <param name="config">What keeping everything would take.</param>
internal sealed class KvMeter(KvCache cache, ModelConfig config)
{
    private readonly KvPolicyCounters[] _known = [.. KvPolicyRegistry.Names.Select(name => new KvPolicyCounters(name, cache.Layout.Groups))];
    private readonly ConcurrentDictionary<string, KvPolicyCounters> _others = new(StringComparer.Ordinal);

    private long _fragmentationBits;

    /// <summary>Share of the slots of held blocks that no token takes, as of the last <see cref="NoteHeld"/>. Any thread.</summary>
    public double Fragmentation => BitConverter.Int64BitsToDouble(Interlocked.Read(ref _fragmentationBits));

    /// <summary>Counters of every policy that is known or was used. Any thread.</summary>
    public IEnumerable<KvPolicyCounters> All => _known.Concat(_others.Values);

    /// <summary>Counters of one policy. Any thread.</summary>
    public KvPolicyCounters Of(IKvPolicy policy)
    {
        foreach (KvPolicyCounters counters in _known)
            if (counters.Name == policy.Name)
                return counters;
        return _others.GetOrAdd(policy.Name, static (name, groups) => new KvPolicyCounters(name, groups), cache.Layout.Groups);
    }

    /// <summary>Engine thread, before an ending choice gives its blocks back: adds what it holds to its request and its policy.</summary>
    /// <remarks>One that lost its blocks, and has not computed all of it again, counts what it held then.</remarks>
    public void NoteEnd(Sequence sequence)
    {
        KvUsage? usage = Measure(sequence);
        if (sequence.HeldBefore is KvUsage before && (usage is null || usage.Value.LogicalTokens < before.LogicalTokens))
            usage = before;
        if (usage is null)
            return;
        sequence.Generation.AddKvUsage(usage.Value);
        Of(sequence.Generation.Policy).CountEnd(usage.Value);
    }

    /// <summary>Engine thread, before a preempted choice leaves the cache: it may end before it comes back.</summary>
    public void NotePreemption(Sequence sequence)
    {
        if (Measure(sequence) is KvUsage usage && !(sequence.HeldBefore?.LogicalTokens > usage.LogicalTokens))
            sequence.HeldBefore = usage;
    }

    /// <summary>Engine thread: counts slots that a choice dropped, once, however often it is replayed.</summary>
    public void NoteDropped(Sequence sequence, long slots)
    {
        sequence.DroppedSlots += slots;
        if (sequence.DroppedSlots <= sequence.CountedSlots)
            return;
        Of(sequence.Generation.Policy).CountDropped(sequence.DroppedSlots - sequence.CountedSlots);
        sequence.CountedSlots = sequence.DroppedSlots;
    }

    private KvUsage? Measure(Sequence sequence)
    {
        if (sequence.Computed == 0 || sequence.Cache is not SequenceCache held)
            return null;
        BlockTable[] tables = sequence.Swapped?.Tables ?? held.Tables;
        long kept = 0;
        foreach (ref readonly BlockTable table in tables.AsSpan())
            kept += table.LiveSlots;
        (long bytes, long shared) = sequence.Swapped is SwappedKv swapped ? ((long)swapped.Blocks * cache.Format.BlockBytes, 0) : Own(sequence, held);
        int blockSize = cache.Format.BlockSize;
        long blocks = (sequence.Computed + blockSize - 1) / blockSize * (long)tables.Length - shared;
        long full = 2L * config.Layers * config.KvHeads * config.HeadDim * cache.Format.Type.Size() * blockSize * blocks / tables.Length;
        return new KvUsage(sequence.Generation.Policy.Name, sequence.Computed, kept / tables.Length, bytes, full);
    }

    /// <summary>Engine thread, a few times a second: what living sequences hold, by policy.</summary>
    public void NoteHeld(Roster roster)
    {
        foreach (KvPolicyCounters counters in _known)
        {
            long device = 0, host = 0;
            for (int i = 0; i < roster.Running.Count; i++)
                device += roster.Running[i].Generation.Policy.Name == counters.Name ? HeldBytes(roster.Running[i]) : 0;
            for (int i = 0; i < roster.Waiting.Entered.Count; i++)
                host += roster.Waiting.Entered[i].Swapped is SwappedKv swapped && roster.Waiting.Entered[i].Generation.Policy.Name == counters.Name ? swapped.Bytes : 0;
            counters.SetHeld(device, host);
        }

        Interlocked.Exchange(ref _fragmentationBits, BitConverter.DoubleToInt64Bits(EmptyShare(roster)));
    }

    private double EmptyShare(Roster roster)
    {
        long slots = 0, live = 0;
        for (int i = 0; i < roster.Running.Count; i++)
        {
            foreach (ref readonly BlockTable table in roster.Running[i].Cache is SequenceCache held ? held.Tables.AsSpan() : default)
                (slots, live) = (slots + (long)table.Count * cache.Format.BlockSize, live + table.LiveSlots);
        }

        return slots == 0 ? 0 : 1 - live / (double)slots;
    }

    private long HeldBytes(Sequence sequence)
    {
        long bytes = 0;
        foreach (ref readonly BlockTable table in sequence.Cache is SequenceCache held ? held.Tables.AsSpan() : default)
            foreach (int entry in table.Blocks)
                bytes += entry < 0 ? ChildShare : cache.Format.BlockBytes;
        return bytes;
    }

    /// <summary>A child's share of the block that several children lie in.</summary>
    private int ChildShare => cache.Format.PackedBits == 0 ? 0 : cache.Format.BlockBytes / cache.Format.ChildrenPerBlock;

    /// <summary>
    /// Bytes of all blocks but those that another living choice of the request still holds, and the number of these: the last that holds them
    /// counts them, on both sides of the comparison with keeping everything.
    /// </summary>
    private (long Bytes, long Shared) Own(Sequence sequence, SequenceCache held)
    {
        HashSet<int>? others = null;
        foreach (Sequence sibling in sequence.Generation.Sequences)
        {
            if (sibling == sequence || sibling.Cache is not SequenceCache living)
                continue;
            others ??= [];
            foreach (ref readonly BlockTable table in living.Tables.AsSpan())
                foreach (int entry in table.Blocks)
                    others.Add(entry);
        }

        long bytes = 0, shared = 0;
        foreach (ref readonly BlockTable table in held.Tables.AsSpan())
        {
            foreach (int entry in table.Blocks)
            {
                if (others?.Contains(entry) == true)
                    shared++;
                else
                    bytes += entry < 0 ? ChildShare : cache.Format.BlockBytes;
            }
        }

        return (bytes, shared);
    }
}
