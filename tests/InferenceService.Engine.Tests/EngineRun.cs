using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Tests.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>An engine without its thread: the test takes the steps, so that everything happens at a chosen moment.</summary>
internal sealed class EngineRun : IDisposable
{
    public EngineRun(TinyModel model, EngineOptions options, IKvPolicy? policy = null, TimeProvider? time = null)
        : this(model.Decoder, options, policy, time)
    {
    }

    public EngineRun(DecoderModel model, EngineOptions options, IKvPolicy? policy = null, TimeProvider? time = null)
    {
        Engine = new InferenceEngine(model, policy ?? new FullKvPolicy(), options, time ?? TimeProvider.System, startThread: false);
        Engine.Loop.ChecksEveryStep = true;
    }

    public InferenceEngine Engine { get; }

    public static EngineOptions Options(TinyModel model, int poolTokens = 1024, int blockSize = 4) => new()
    {
        MaxModelLength = 256,
        MaxBatchTokens = 64,
        BlockSize = blockSize,
        PromptChunkTokens = 2 * blockSize,
        TokenClasses = PolicyCases.Classes,
        Sums = SumStore.All | AttentionSums.Heads,
        KvCacheBytes = model.PoolBytes(poolTokens, blockSize),
        Seed = 42,
    };

    public static GenerationRequest Request(int[] prompt, int maxTokens, SamplingParams? sampling = null) => new()
    {
        PromptTokens = prompt,
        MaxTokens = maxTokens,
        Sampling = sampling ?? new SamplingParams { Temperature = 0 },
    };

    public static int[] Prompt(int length, int seed) => [.. Enumerable.Range(0, length).Select(i => (i * 31 + seed * 17 + i * i * seed) % TinyModel.Vocabulary)];

    public GenerationStream Submit(GenerationRequest request)
    {
        SubmitResult result = Engine.Submit(request);
        Assert.True(result.Refusal == Refusal.None, result.Reason);
        return result.Stream!;
    }

    /// <summary>Steps until nothing is left to do.</summary>
    public void Finish(int mostSteps = 100_000)
    {
        while (Engine.Loop.Step())
            Assert.True(mostSteps-- > 0, "The engine does not finish.");
    }

    /// <summary>Takes steps until all streams decode, then 150 more that must allocate nothing on this thread; streams have 200 tokens to give.</summary>
    /// <remarks>Of three runs of 50 steps the least counts, so what a step allocates less often than once in 50 steps may pass.</remarks>
    public void AssertSteadyStepsAllocateNothing(GenerationStream[] streams)
    {
        const int Warm = 40, Steps = 150;
        Engine.Loop.ChecksEveryStep = false;
        var steady = new LeastAllocation(stepsEach: Steps / 3);
        for (int step = 0; step < Warm + Steps; step++)
        {
            if (step >= Warm)
                steady.Begin();
            Assert.True(Engine.Loop.Step());
            if (step >= Warm)
                steady.End();
            foreach (GenerationStream stream in streams)
                while (stream.TryRead(out _)) { }
        }

        Assert.Equal(streams.Length, Engine.Statistics.Running);
        Assert.Equal(0, steady.Bytes);
    }

    /// <summary>Everything a stream holds, by choice.</summary>
    public static Output[] Read(GenerationStream stream, int choices = 1)
    {
        var outputs = new Output[choices];
        for (int choice = 0; choice < choices; choice++)
            outputs[choice] = new Output();
        while (stream.TryRead(out GeneratedToken token))
            outputs[token.Choice].Add(token);
        return outputs;
    }

    /// <summary>Runs one request alone.</summary>
    public Output[] Run(GenerationRequest request)
    {
        GenerationStream stream = Submit(request);
        Finish();
        return Read(stream, request.Choices);
    }

    public void AssertNothingOwned()
    {
        Engine.Loop.AssertConsistent();
        Assert.Equal(0, Engine.Loop.Cache.Blocks.Used);
        Assert.Equal(0, Engine.Loop.Swap.Used);
        Assert.Equal(0, Engine.Statistics.Running + Engine.Statistics.Waiting);
    }

    public void Dispose()
    {
        Engine.Loop.Drain(cancelRest: true);
        if (Engine.State != EngineState.Dead)
            Engine.Loop.Run();
    }

    /// <summary>What one choice said.</summary>
    internal sealed class Output
    {
        public List<int> Tokens { get; } = [];

        public List<TokenLogprobs?> Logprobs { get; } = [];

        public FinishReason Finish { get; private set; }

        public void Add(in GeneratedToken token)
        {
            Assert.Equal(FinishReason.None, Finish);
            Finish = token.Finish;
            if (token.TokenId < 0)
                return;
            Tokens.Add(token.TokenId);
            Logprobs.Add(token.Logprobs);
        }
    }
}
