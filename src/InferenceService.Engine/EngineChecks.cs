using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine;

/// <summary>What must hold of the cache in every step whatever the policies are; run where <see cref="EngineLoop.ChecksEveryStep"/> says so.</summary>
/// <remarks>
/// 1. Every block of the pool is held, holds a cached prefix or is free, and is held as often as it stands in tables.
/// 2. What is written is held once, and no prefix entry names it; what is moved or packed later is checked by <see cref="KvCache.ChecksWrites"/>.
/// 3. Every slot of a lane that holds something holds a token computed so far, each token once.
/// 4. In its own step a lane ends with the tokens of that step, before the policy is asked.
/// 5. Once the policy was obeyed a lane holds no more than it allows. (One that begins with a cached prefix holds whole blocks until then.)
/// 6. Whoever waits or has ended holds nothing.
/// That what a mask hides adds nothing to any output is not visible here: tests poison it. Engine thread only; allocates.
/// </remarks>
internal sealed class EngineChecks(KvCache cache, Roster roster)
{
    /// <summary>The batch is about to be written (2).</summary>
    /// <exception cref="InvalidOperationException">A block is shared.</exception>
    public void BeforeForward(Batch batch)
    {
        foreach (ref readonly BatchItem item in batch.Items)
            if (!item.IsRider)
                cache.AssertWritable(item.Sequence.Cache!, item.Count);
    }

    /// <summary>The batch was written, and nobody was asked what to drop (4).</summary>
    /// <exception cref="InvalidOperationException">A lane lacks a token.</exception>
    public static void AfterForward(Batch batch)
    {
        foreach (ref readonly BatchItem item in batch.Items)
        {
            SequenceCache held = item.Sequence.Cache!;
            for (int group = 0; group < held.Tables.Length; group++)
            {
                int length = held.Tables[group].Length, first = item.Start;
                for (int token = 0; token < item.Count; token++)
                    if (held.PositionOf(group, length - item.Count + token) != first + token)
                        throw new InvalidOperationException($"Group {group} does not end with tokens [{first}, {first + item.Count}) of its step.");
            }
        }
    }

    /// <summary>The policies of the batch were asked and obeyed (5).</summary>
    /// <exception cref="InvalidOperationException">A lane holds too much.</exception>
    public static void AfterCompression(Batch batch)
    {
        foreach (ref readonly BatchItem item in batch.Items)
        {
            Sequence sequence = item.Sequence;
            for (int group = 0; sequence.Finish == FinishReason.None && !item.EndsByLength && group < sequence.Cache!.Tables.Length; group++)
                if (sequence.Cache.Tables[group].LiveSlots > MostSlots(sequence, group))
                    throw new InvalidOperationException($"Group {group} holds {sequence.Cache.Tables[group].LiveSlots} tokens; {sequence.Generation.Policy.Name} allows {MostSlots(sequence, group)}.");
        }
    }

    /// <summary>The step is over (1, 3, 6).</summary>
    /// <exception cref="InvalidOperationException">An invariant is broken.</exception>
    public void AfterStep()
    {
        cache.AssertConsistent(roster.All().Select(sequence => sequence.Cache).OfType<SequenceCache>());
        foreach (Sequence sequence in roster.All())
        {
            if (sequence.Cache is not { } held)
                continue;
            bool runs = sequence.State == SequenceState.Running;
            if (!runs && held.BlockCount > 0)
                throw new InvalidOperationException($"A sequence that does not run holds {held.BlockCount} blocks.");
            held.AssertPositions(runs ? sequence.Computed : 0);
        }
    }

    /// <summary>Under a mask no more than the next row sees besides itself; otherwise a prompt is whole until the policy is asked at its end.</summary>
    private static int MostSlots(Sequence sequence, int group)
    {
        KvMask mask = sequence.Generation.Policy.Mask;
        if (!mask.IsNone)
            return Math.Min(sequence.Computed, mask.Sinks + mask.Window - 1);
        return sequence.Selector is { } selector && sequence.Computed >= sequence.PromptLength
            ? selector.MostSlots(group, sequence.Tokens[..sequence.Computed])
            : sequence.Computed;
    }
}
