using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>Each of the checks that run in every step finds what it is for: a state is broken on purpose.</summary>
public sealed class EngineChecksTests : IDisposable
{
    private readonly TinyModel _model = new(KvGrouping.Head);
    private readonly EngineRun _run;

    public EngineChecksTests() => _run = new EngineRun(_model, EngineRun.Options(_model) with { PrefixCaching = false });

    private KvCache Cache => _run.Engine.Loop.Cache;

    public void Dispose()
    {
        _run.Engine.Loop.ChecksEveryStep = false; // what was broken stays broken
        _run.Dispose();
        _model.Dispose();
    }

    [Fact]
    public void A_reference_that_no_table_accounts_for_is_found()
    {
        Sequence sequence = Start(null);
        Cache.Blocks.AddReference(sequence.Cache!.Tables[0].Blocks[0]);
        AssertFound("references and stands in");
    }

    [Fact]
    public void A_block_that_a_table_holds_without_a_reference_is_found()
    {
        Sequence sequence = Start(null);
        Cache.Blocks.Release(sequence.Cache!.Tables[0].Blocks[0]);
        AssertFound("references and stands in");
    }

    [Fact]
    public void A_write_to_a_block_that_became_shared_is_found_before_it_happens()
    {
        Sequence first = Start(null);
        Start(new Meddler(() => Cache.Blocks.AddReference(first.Cache!.Tables[0].Blocks[^1])), step: false);
        AssertFound("is written with 2 references");
    }

    [Fact]
    public void Nor_may_a_block_be_moved_or_packed_into_that_others_hold()
    {
        KvBlockFormat format = new(DType.F32, 32, 32, 1, 4);
        var cache = new KvCache(_model.Backend, new KvLayout([0], 1, KvGrouping.Model), format, 8, prefixCaching: false, "test");
        int from = cache.Take(), to = cache.Take(), child = cache.TakeChild();
        cache.Blocks.AddReference(to);
        cache.Blocks.AddReference(~child);
        cache.MoveSlots([new SlotMove(from * 32, to * 32)]);
        cache.PackBlocks([new BlockPack(from, child)]);
        cache.ChecksWrites = true;
        Assert.Contains("is written with 2 references", Assert.Throws<InvalidOperationException>(() => cache.MoveSlots([new SlotMove(from * 32, to * 32)])).Message, StringComparison.Ordinal);
        Assert.Contains("is packed with 2 references", Assert.Throws<InvalidOperationException>(() => cache.PackBlocks([new BlockPack(from, child)])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3, 8)] // of a token not yet computed
    [InlineData(3, 1)] // of another slot
    [InlineData(3, SequenceCache.DeadSlot)] // of none, outside the gap
    public void A_slot_that_claims_a_wrong_position_is_found(int slot, int position)
    {
        Sequence sequence = Start(PolicyCases.Create("stream"));
        sequence.Cache!.SlotPositions![1][slot] = position;
        AssertFound($"Slot {slot} of group 1 claims position {position}.", _run.Engine.Loop.AssertConsistent);
    }

    [Fact]
    public void So_is_one_of_a_table_that_ran_ahead_of_its_text()
    {
        Sequence sequence = Start(null);
        Cache.Grow(sequence.Cache!, 1);
        sequence.Cache!.Tables[2].Length++;
        AssertFound("Slot 8 of group 2 claims position 8.", _run.Engine.Loop.AssertConsistent);
    }

    [Fact]
    public void A_lane_without_the_token_of_its_step_is_found()
    {
        Sequence first = Start(null);
        Start(new Meddler(() => first.Cache!.Tables[1].Length--), step: false);
        AssertFound("Group 1 does not end with tokens [8, 9) of its step.");
    }

    [Fact]
    public void A_lane_longer_than_its_mask_allows_is_found()
    {
        Start(new Meddler(() => { }, new KvMask(1, 3, 0)), step: false);
        AssertFound("holds 4 tokens; meddler allows 3.");
    }

    [Fact]
    public void A_lane_longer_than_its_selector_allows_is_found()
    {
        Start(new Meddler(() => { }) { Most = 7 }, step: false);
        AssertFound("holds 8 tokens; meddler allows 7.");
    }

    [Fact]
    public void Blocks_of_a_sequence_that_waits_are_found()
    {
        Sequence sequence = Start(null);
        _run.Engine.Loop.PreemptAll();
        _run.Engine.Loop.AssertConsistent();
        Cache.Grow(sequence.Cache!, 1);
        AssertFound("does not run holds 4 blocks", _run.Engine.Loop.AssertConsistent);
    }

    /// <summary>A request of eight tokens, whose prompt is computed.</summary>
    private Sequence Start(IKvPolicy? policy, bool step = true)
    {
        GenerationStream stream = _run.Submit(EngineRun.Request(EngineRun.Prompt(8, 3), 20) with { KvPolicy = policy });
        if (step)
            Assert.True(_run.Engine.Loop.Step());
        return ((Generation)stream).Sequences[0];
    }

    /// <summary>The check, or else the next step, says so.</summary>
    private void AssertFound(string message, Action? check = null) =>
        Assert.Contains(message, Assert.Throws<InvalidOperationException>(check ?? (() => _run.Engine.Loop.Step())).Message, StringComparison.Ordinal);

    /// <summary>Keeps everything, and does something to the engine when it is asked what to observe: after others took their place in the step.</summary>
    private sealed class Meddler(Action meddle, KvMask mask = default) : IKvPolicy
    {
        public string Name => "meddler";

        public KvMask Mask => mask;

        public int Most { get; init; } = int.MaxValue;

        public KvLayout Layout(ModelConfig model) => KvLayout.Of(model, KvGrouping.Head);

        public KvSelector NewSelector(in KvSelectorContext context) => new Selector(meddle, Most);

        private sealed class Selector(Action meddle, int most) : KvSelector
        {
            public override int MostSlots(int group, ReadOnlySpan<int> computed) => Math.Min(most, computed.Length);

            public override KvWatch Watch(int computed, int tokens)
            {
                meddle();
                return default;
            }

            public override void Select(in KvObservation seen, KeepSet keep)
            {
            }
        }
    }
}
