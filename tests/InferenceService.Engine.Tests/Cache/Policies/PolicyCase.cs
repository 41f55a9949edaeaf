using System.Globalization;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

namespace InferenceService.Engine.Tests.Cache.Policies;

/// <summary>One policy with its settings, and a model, a pool and a prompt on which they matter.</summary>
/// <param name="Label">Its name in tests.</param>
/// <param name="Policy">Name in the registry.</param>
/// <param name="Values">Options as <c>name=value</c>, separated by blanks.</param>
internal sealed record PolicyCase(string Label, string Policy, string Values)
{
    /// <summary>Whose cache each layer reads; null = two layers with caches of their own.</summary>
    public int[]? KvSources { get; init; }

    /// <summary>Window of each of those layers; null = none slides.</summary>
    public int[]? Windows { get; init; }

    /// <summary>Bits that blocks of the pool may be packed into; 0 = none is. As many as the policy asks for, unless said otherwise.</summary>
    public int PoolBits { get; init; } = Values.Split(' ').Where(value => value.StartsWith("key_bits=", StringComparison.Ordinal) && value != "key_bits=16")
        .Select(value => int.Parse(value[9..], CultureInfo.InvariantCulture)).FirstOrDefault();

    /// <summary>A prompt; blocks are packed by 32 slots, so that in one of 41 none would ever be.</summary>
    public int[] Prompt(int seed) => EngineRun.Prompt(PoolBits == 0 ? 41 : 102, 1 + (seed % 1000));

    /// <summary>Tokens to generate.</summary>
    public int Generated => PoolBits == 0 ? 24 : 36;

    /// <summary>An instance of the policy.</summary>
    public IKvPolicy Create() => KvPolicyRegistry.Create(Policy, Given());

    /// <summary>Value of one of the options named.</summary>
    public int Number(string option) => int.Parse(Given()[option], CultureInfo.InvariantCulture);

    /// <summary>A model of 4 query heads on which the policy may be used; every head is a group of its own.</summary>
    public TinyModel Model(int kvHeads, int seed = 5) => new(
        KvGrouping.Head, (ulong)seed, kvHeads: kvHeads, kvSources: KvSources, windows: Windows, headDim: PoolBits == 0 ? 4 : KvBlockFormat.PackedGroup, maxPositions: 512);

    /// <summary>A pool with room for eight such requests.</summary>
    public EngineOptions Options(TinyModel model)
    {
        if (PoolBits == 0)
            return EngineRun.Options(model);
        const int blockSize = KvBlockFormat.PackedGroup;
        return EngineRun.Options(model, blockSize: blockSize) with
        {
            MaxBatchTokens = 128,
            PromptChunkTokens = blockSize,
            KvPackedBits = PoolBits,
            KvCacheBytes = (long)model.Decoder.Layout.Groups * 40
                * new KvBlockFormat(DType.F32, blockSize, model.Config.HeadDim, model.Decoder.Layout.LanesPerGroup, PoolBits).BlockBytes,
        };
    }

    private Dictionary<string, string> Given() => Values.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        .Select(value => value.Split('=')).ToDictionary(value => value[0], value => value[1]);
}
