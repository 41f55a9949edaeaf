using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache;

public sealed class SumStoreTests : IDisposable
{
    private const AttentionSums SlotSums = AttentionSums.Columns | AttentionSums.Band;

    private readonly CpuBackend _backend = new(1);

    [Fact]
    public void Only_the_sums_that_are_kept_have_memory()
    {
        var store = new SumStore(_backend, 2, 100, 3, AttentionSums.RangeMass);
        Assert.Equal(0, store.Of(AttentionSums.Columns).Rows);
        Assert.Equal(0, store.Of(AttentionSums.Band).Rows);
        Assert.Equal(6, store.Of(AttentionSums.RangeMass).Rows);
        Assert.Equal(6 * sizeof(float), SumStore.Bytes(2, 100, 3, AttentionSums.RangeMass));
        Assert.Equal(0, SumStore.Bytes(2, 100, 3, AttentionSums.None));
        Assert.Equal(2L * 3 * 100 * 2 * sizeof(float), SumStore.Bytes(2, 100, 3, SlotSums));
    }

    [Fact]
    public void Memory_that_the_system_refuses_is_named_with_its_sizes()
    {
        InsufficientMemoryException refusal = Assert.Throws<InsufficientMemoryException>(() => new SumStore(_backend, 1 << 20, 1 << 30, 16, AttentionSums.Columns));
        Assert.Contains("16 sequences of 1048576 lanes of 1073741824 tokens take 72057594037927936 bytes", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("lower MaxNumSeqs or MaxModelLength", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Rows_that_come_back_are_zero_for_the_next_sequence()
    {
        var store = new SumStore(_backend, 2, 50, 1);
        int row = store.Rent();
        store.Reach(row, 30);
        Fill(store, row, 30);
        store.Return(row);
        Assert.Equal(row, store.Rent());
        foreach (AttentionSums one in (AttentionSums[])[AttentionSums.Columns, AttentionSums.Band, AttentionSums.RangeMass])
            Assert.All(store.Read(one, row).ToArray(), sum => Assert.Equal(0, sum));
    }

    [Fact]
    public void Sums_are_saved_and_copied_as_far_as_there_are_slots()
    {
        var store = new SumStore(_backend, 2, 50, 3);
        int row = store.Rent();
        store.Reach(row, 30);
        Fill(store, row, 30);
        float[] before = Numbers(store, row);

        Assert.Equal(((2 * 2 * 30) + 2) * sizeof(float), store.SavedBytes(SumStore.All, 30));
        using var memory = new HostBuffer(16 + store.SavedBytes(SumStore.All, 30));
        store.Save(SumStore.All, row, 30, memory, 16);
        int copy = store.Rent();
        store.Copy(SumStore.All, row, copy);
        Assert.Equal(before, Numbers(store, copy));
        store.Return(row);
        int back = store.Rent();
        store.Restore(SumStore.All, back, 30, memory, 16);
        Assert.Equal(before, Numbers(store, back));
        store.Return(back);
        store.Return(copy);
        Assert.All(Numbers(store, back), sum => Assert.Equal(0, sum));
        Assert.All(Numbers(store, copy), sum => Assert.Equal(0, sum));
    }

    [Fact]
    public void A_swap_holds_the_sums_of_the_slots_that_are_left_and_the_meter_counts_them()
    {
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model), new LowestSumPolicy(8));
        run.Submit(EngineRun.Request(EngineRun.Prompt(40, 1), 20));
        for (int step = 0; step < 4; step++)
            run.Engine.Loop.Step();
        run.Engine.Loop.PreemptAll();
        KvBlockFormat format = run.Engine.BlockFormat;
        int lanes = run.Engine.Model.Layout.OwnerLayers * run.Engine.Model.Layout.KvHeads;
        long blocks = (long)run.Engine.Model.Layout.Groups * (8 / format.BlockSize) * format.BlockBytes;
        Assert.Equal(blocks + (lanes * 8 * sizeof(float)), run.Engine.Loop.Swap.Used);
        run.Finish();
        run.AssertNothingOwned();
    }

    [Fact]
    public void A_policy_that_observes_what_there_is_no_memory_for_ends_its_own_request()
    {
        IKvPolicy policy = KvPolicyRegistry.Create("fast-gen");
        using var model = new TinyModel(KvGrouping.Head);
        using var run = new EngineRun(model, EngineRun.Options(model) with { Sums = AttentionSums.RangeMass }, new FullKvPolicy());
        GenerationStream refused = run.Submit(EngineRun.Request(EngineRun.Prompt(20, 1), 4) with { KvPolicy = policy });
        run.Finish();
        Assert.Equal(FinishReason.Error, EngineRun.Read(refused)[0].Finish);
        Assert.Contains("fast-gen", refused.Error, StringComparison.Ordinal);
        Assert.Equal(4, run.Run(EngineRun.Request(EngineRun.Prompt(20, 1), 4))[0].Tokens.Count);
        run.AssertNothingOwned();
    }

    [Fact]
    public void What_a_policy_says_it_may_observe_is_all_that_its_selectors_ask_for()
    {
        using var model = new TinyModel(KvGrouping.Head);
        foreach (string name in KvPolicyRegistry.Names.Where(name => name != "lckv"))
        {
            IKvPolicy policy = KvPolicyRegistry.Create(name);
            var context = new KvSelectorContext(model.Decoder.Config, policy.Layout(model.Decoder.Config), TokenClasses.None, 2000, null);
            Assert.Equal(policy.Sums, policy.NewSelector(context)?.Sums ?? AttentionSums.None);
        }
    }

    public void Dispose() => _backend.Dispose();

    private void Fill(SumStore store, int row, int slots)
    {
        for (int lane = 0; lane < store.Lanes; lane++)
        {
            float[] sums = [.. Enumerable.Range(1, slots).Select(slot => slot + (100f * (row + lane)))];
            _backend.Upload(MemoryMarshal.AsBytes(sums.AsSpan()), store.Of(AttentionSums.Columns).RowRange(row + lane, 1).ColumnRange(0, slots));
            _backend.Upload(MemoryMarshal.AsBytes(sums.AsSpan()), store.Of(AttentionSums.Band).RowRange(row + lane, 1).ColumnRange(0, slots));
            _backend.Upload(MemoryMarshal.AsBytes(sums.AsSpan(0, 1)), store.Of(AttentionSums.RangeMass).RowRange(row + lane, 1));
        }
    }

    private static float[] Numbers(SumStore store, int row) =>
        [.. store.Read(AttentionSums.Columns, row), .. store.Read(AttentionSums.Band, row), .. store.Read(AttentionSums.RangeMass, row)];
}
