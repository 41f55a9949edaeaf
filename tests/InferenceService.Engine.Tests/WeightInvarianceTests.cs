using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Tests;

/// <summary>The storms again with weights in every format, on every family of kernels that this processor has, each forced in turn.</summary>
public sealed class WeightInvarianceTests
{
    public static TheoryData<KernelFamily, SimdPath, WeightFormat> Kernels
    {
        get
        {
            var data = new TheoryData<KernelFamily, SimdPath, WeightFormat>();
            foreach ((KernelFamily family, SimdPath path) in (ReadOnlySpan<(KernelFamily, SimdPath)>)
                [(KernelFamily.Portable, SimdPath.Portable), (KernelFamily.Avx2, SimdPath.Avx2), (KernelFamily.AvxVnni, SimdPath.Avx2), (KernelFamily.Avx512, SimdPath.Avx512)])
            {
                if (!family.IsSupported() || !path.IsSupported())
                    continue;
                foreach (WeightFormat format in Enum.GetValues<WeightFormat>().Where(format => format != WeightFormat.F16)) // which the processor leaves as stored
                    data.Add(family, path, format);
            }

            return data;
        }
    }

    private static TinyModel Model(KernelFamily family, SimdPath path, WeightFormat format) =>
        new(eos: 7, headDim: format == WeightFormat.Stored ? 4 : 8, format: format, kernels: family, path: path);

    [Theory, MemberData(nameof(Kernels))]
    public void A_storm_changes_no_token(KernelFamily family, SimdPath path, WeightFormat format)
    {
        var weather = new BatchInvarianceTests.Weather();
        Property.Check(2, seed =>
        {
            using TinyModel model = Model(family, path, format);
            Assert.Empty(model.Decoder.Weights.Kept);
            GenerationRequest[] requests = BatchInvarianceTests.NewRequests(new Random(seed));
            EngineRun.Output[][] alone = BatchInvarianceTests.RunAlone(model, requests, new FullKvPolicy());
            BatchInvarianceTests.Storm(
                model, requests, alone, new FullKvPolicy(), BatchInvarianceTests.StormOptions(model, 7), new Random(seed + 1), weather);
        });
        weather.AssertRough();
    }

    [Theory, MemberData(nameof(Kernels))]
    public void The_engine_says_what_the_decoder_says_token_by_token(KernelFamily family, SimdPath path, WeightFormat format)
    {
        using TinyModel model = Model(family, path, format);
        int[] prompt = EngineRun.Prompt(40, 3);
        int[] expected = NaiveDecoder.Greedy(model.Decoder, prompt, 24);
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxChunkTokens = 9 });
        GenerationRequest request = EngineRun.Request(prompt, expected.Length) with { IgnoreEos = true };
        Assert.Equal(expected, run.Run(request)[0].Tokens);
        Assert.Equal(expected, run.Run(request)[0].Tokens); // from blocks of the prefix cache
    }

    [Theory, MemberData(nameof(Kernels))]
    public void Steady_decode_allocates_nothing(KernelFamily family, SimdPath path, WeightFormat format)
    {
        using TinyModel model = Model(family, path, format);
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 2048));
        GenerationStream[] streams = [.. Enumerable.Range(0, 6).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(10 + i, i), 200) with { IgnoreEos = true }))];
        run.AssertSteadyStepsAllocateNothing(streams);
    }
}
