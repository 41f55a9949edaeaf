using InferenceService.Engine.Cache;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Execution;

/// <summary>After a step: the policies of its sequences are asked what to keep, and old blocks are quantised where they say so.</summary>
/// <remarks>A policy that throws ends its own sequence. Engine thread only.</remarks>
internal sealed class PolicyStep(KvCompressor compressor, KvPacker packer, KvMeter meter)
{
    /// <summary>Asks about everybody who goes on.</summary>
    public void Ask(Batch batch)
    {
        foreach (ref readonly BatchItem item in batch.Items)
        {
            Sequence sequence = item.Sequence;
            if (sequence.Finish != FinishReason.None || item.EndsByLength)
                continue;
            long dropped = compressor.DroppedSlots;
            bool promptComplete = sequence.Computed >= sequence.PromptLength;
            try
            {
                if (sequence.Selector is { } selector && (promptComplete || !sequence.Generation.Policy.Mask.IsNone))
                    compressor.Compress(sequence.Cache!, selector, sequence.Tokens[..sequence.Computed], sequence.PromptLength, sequence.Computed, batch.Reserved);
            }
            catch (Exception failure) when (Generation.IsItsOwn(failure))
            {
                sequence.Fail(sequence.Generation.PolicyFault(failure));
            }

            meter.NoteDropped(sequence, compressor.DroppedSlots - dropped);

            if (promptComplete && sequence.Finish == FinishReason.None)
                packer.Pack(sequence.Cache!, sequence.Packing, sequence.Selector);
        }
    }

    /// <summary>What every choice of a prompt would pack alike is packed before they share it; a selector decides for each choice first.</summary>
    public void PackShared(Batch batch)
    {
        ReadOnlySpan<BatchItem> items = batch.Items;
        for (int i = 1; i < items.Length; i++)
            if (items[i].IsRider && !items[i - 1].IsRider && items[i - 1].Sequence.Selector is null)
                packer.Pack(items[i - 1].Sequence.Cache!, items[i - 1].Sequence.Packing, selector: null);
    }
}
