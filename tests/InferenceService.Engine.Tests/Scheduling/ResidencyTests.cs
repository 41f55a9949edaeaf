using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Scheduling;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Scheduling;

public sealed class ResidencyTests
{
    [Fact]
    public void A_choice_put_back_before_it_shared_its_prompt_enters_like_a_new_one()
    {
        const int blockSize = 4, promptTokens = 10;
        using var model = new TinyModel(KvGrouping.Head);
        KvLayout layout = model.Decoder.Layout;
        var format = new KvBlockFormat(DType.F32, blockSize, model.Config.HeadDim, layout.LanesPerGroup);
        var cache = new KvCache(model.Backend, layout, format, 64, prefixCaching: false, "test");
        var sums = new SumStore(model.Backend, layout.OwnerLayers * layout.KvHeads, 64, 2);
        var swap = new KvSwap(model.Backend, cache, sums, long.MaxValue);
        var residency = new Residency(cache, swap, sums, new PromptChunks(model.Decoder.Layout, 16, 4), model.Config, TokenClasses.None);
        GenerationRequest request = EngineRun.Request(EngineRun.Prompt(promptTokens, 3), 5);
        Sequence rider = new Generation(request, new LowestSumPolicy(4), new Ticket(1, 0, 0, false, new ClientShare(0)), 16, _ => { }, () => { }).Sequences[0];

        Assert.True(residency.TryPrepare(rider, out _));
        residency.Leave(rider);
        Assert.Null(rider.Swapped);
        Assert.True(residency.TryEnter(rider, () => 0, int.MaxValue, out string? error), error);
        Assert.Equal(3 * layout.Groups, rider.Cache!.BlockCount);
        Assert.True(rider.Cache.SumRow >= 0);
        residency.Release(rider);
        Assert.Equal(0, cache.Blocks.Used);
    }
}
