using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>A policy's state for one sequence. Engine thread only.</summary>
public abstract class KvSelector
{
    /// <summary>Sums that it may ever ask for; storage is kept for these as long as the sequence lives.</summary>
    public virtual AttentionSums Sums => AttentionSums.None;

    /// <summary>Last tokens of the prompt that the sequence must compute itself, because attention over their rows is observed.</summary>
    public virtual int FreshPromptTokens => 0;

    /// <summary>It may restrict groups to lists of survivors, so that shared blocks may have to be copied.</summary>
    public virtual bool Gathers => false;

    /// <summary>
    /// Most blocks of a sequence holding <paramref name="blocks"/> into which its next answer may move slots: as many must be free, where
    /// others share them, because such a block is copied.
    /// </summary>
    public virtual int MayWrite(int blocks) => Gathers ? blocks : 0;

    /// <summary><see cref="MayPack"/> no longer changes with an answer.</summary>
    public virtual bool IsSettled => true;

    /// <summary>
    /// Full blocks of a group may be quantised (<see cref="KvPacking"/>): it only drops ranges of them, or nothing. A group from which
    /// single slots go later must keep full precision, because K shares its scales along the slots. Asked after <see cref="Select"/>.
    /// </summary>
    public virtual bool MayPack(int group) => !Gathers;

    /// <summary>Most tokens that a group holds once it has answered, of a text whose prompt is computed; for checks.</summary>
    /// <param name="group">The group.</param>
    /// <param name="computed">Tokens computed so far.</param>
    public virtual int MostSlots(int group, ReadOnlySpan<int> computed) => computed.Length;

    /// <summary>What attention must report about the rows of positions [<paramref name="computed"/>, computed + <paramref name="tokens"/>).</summary>
    public virtual KvWatch Watch(int computed, int tokens) => default;

    /// <summary>
    /// Answers which slots of each group survive. Called after every step of the sequence that ends its prompt or extends it; under a
    /// <see cref="KvMask"/> also after every chunk of the prompt.
    /// </summary>
    /// <param name="seen">Lengths, positions and sums of the sequence.</param>
    /// <param name="keep">Filled by the selector; a group it does not touch keeps everything.</param>
    public abstract void Select(in KvObservation seen, KeepSet keep);

    /// <summary>Its request allows it to drop more than it has to when the pool is full.</summary>
    public virtual bool Yields => false;

    /// <summary>The pool is full: gives up what costs least. Called between steps, after the prompt; what is given up stays given up.</summary>
    /// <returns>False when there is nothing left to give up.</returns>
    public virtual bool Yield(in KvObservation seen, KeepSet keep) => false;
}

/// <summary>What attention must report about some rows. <c>default</c>: nothing.</summary>
/// <remarks>Slots are those of the lanes as they stand before the step.</remarks>
/// <param name="Sums">Which sums.</param>
/// <param name="FirstSlot">Rows of earlier slots are not observed.</param>
/// <param name="Band">Slot distance that <c>Band</c> stays below.</param>
/// <param name="SinkEnd"><c>RangeMass</c>: end of the first slots.</param>
/// <param name="RecentStart"><c>RangeMass</c>: start of the last slots.</param>
public readonly record struct KvWatch(AttentionSums Sums, int FirstSlot, int Band, int SinkEnd, int RecentStart);

/// <summary>What a selector is made for.</summary>
/// <param name="Model">Shape of the model.</param>
/// <param name="Layout">Its lanes and groups; they may be finer than the policy asked for.</param>
/// <param name="Classes">Kinds of token ids.</param>
/// <param name="PromptTokens">Length of the prompt.</param>
/// <param name="Previous">The selector of the same sequence before it was preempted and its cache was lost: a decision it took stands. Null = none.</param>
public readonly record struct KvSelectorContext(ModelConfig Model, KvLayout Layout, TokenClasses Classes, int PromptTokens, KvSelector? Previous);
