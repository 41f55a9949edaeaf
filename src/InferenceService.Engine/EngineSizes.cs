using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine;

/// <summary>Do an engine's options fit its model?</summary>
internal static class EngineSizes
{
    /// <summary>Checks all options.</summary>
    /// <returns>Blocks of the pool.</returns>
    /// <exception cref="ArgumentException">One does not fit; the message names it, its value and its range.</exception>
    public static int Check(DecoderModel model, EngineOptions options)
    {
        DecoderLimits limits = model.Limits;
        InRange(nameof(options.MaxNumSeqs), options.MaxNumSeqs, 1, limits.MaxLogitRows);
        InRange(nameof(options.MaxBatchTokens), options.MaxBatchTokens, options.MaxNumSeqs, limits.MaxRows);
        InRange(nameof(options.MaxChunkTokens), options.MaxChunkTokens ?? 1, 1, int.MaxValue);
        InRange(nameof(options.MaxModelLength), options.MaxModelLength, 1, int.MaxValue);
        InRange(nameof(options.BlockSize), options.BlockSize, 1, 1024);
        InRange(nameof(options.MaxQueuedRequests), options.MaxQueuedRequests, 1, int.MaxValue);
        InRange(nameof(options.MaxQueuedTokens), options.MaxQueuedTokens, 1, int.MaxValue);
        InRange(nameof(options.StreamCapacity), options.StreamCapacity, 1, 1 << 20);
        InRange(nameof(options.SwapBytes), options.SwapBytes, 0, long.MaxValue);
        if (options.CircuitBreak < TimeSpan.FromSeconds(0.5) || options.CircuitBreak > TimeSpan.FromDays(1))
            throw new ArgumentException($"CircuitBreak is {options.CircuitBreak}; allowed: half a second to a day.", nameof(options));
        if (options.KvType is not (DType.F32 or DType.F16 or DType.BF16))
            throw new ArgumentException($"KvType is {options.KvType}; allowed: F32, F16, BF16.", nameof(options));

        if (model.Layout.IsCyclic)
            CheckPromptChunk(limits, options);
        if (options.KvPackedBits is not (0 or 4 or 8))
            throw new ArgumentException($"KvPackedBits is {options.KvPackedBits}; allowed: 0, 4, 8.", nameof(options));
        if (options.KvPackedBits > 0 && options.BlockSize % KvBlockFormat.PackedGroup != 0)
        {
            throw new ArgumentException(
                $"BlockSize is {options.BlockSize}; with KvPackedBits {options.KvPackedBits} it must be a multiple of {KvBlockFormat.PackedGroup}.",
                nameof(options));
        }

        KvBlockFormat format = Format(model, options);
        long blocks = options.KvCacheBytes / format.BlockBytes;
        int spare = SpareBlocks(options);
        if (blocks < model.Layout.Groups + spare)
        {
            throw new ArgumentException(
                $"KvCacheBytes is {options.KvCacheBytes}; one block of {options.BlockSize} tokens needs at least {(long)format.BlockBytes * (model.Layout.Groups + spare)}.",
                nameof(options));
        }

        // Global slots (block × BlockSize + offset) are 32-bit in SlotMove; a block has fewer children than slots.
        return (int)Math.Min(blocks, int.MaxValue / options.BlockSize);
    }

    /// <summary>Layout of a block.</summary>
    public static KvBlockFormat Format(DecoderModel model, EngineOptions options) =>
        new(options.KvType, options.BlockSize, model.Config.HeadDim, model.Layout.LanesPerGroup, options.KvPackedBits);

    /// <summary>Blocks that one sequence may not fill, because packing takes one before it gives any back.</summary>
    public static int SpareBlocks(EngineOptions options) => options.KvPackedBits == 0 ? 0 : 1;

    /// <summary>The options with the context length cut to what the checkpoint allows.</summary>
    public static EngineOptions Clamp(DecoderModel model, EngineOptions options) =>
        options with { MaxModelLength = Math.Min(options.MaxModelLength, model.Config.MaxPositions) };

    /// <summary>A chunk goes through in one piece, beside all decoding sequences and perhaps with logits for every token.</summary>
    private static void CheckPromptChunk(DecoderLimits limits, EngineOptions options)
    {
        int most = Math.Min(options.MaxBatchTokens, limits.MaxLogitRows - options.MaxNumSeqs) / options.BlockSize * options.BlockSize;
        InRange(nameof(options.PromptChunkTokens), options.PromptChunkTokens, options.BlockSize, most);
        if (options.PromptChunkTokens % options.BlockSize != 0)
            throw new ArgumentException($"PromptChunkTokens is {options.PromptChunkTokens}; allowed: multiples of BlockSize ({options.BlockSize}) up to {most}.");
    }

    private static void InRange(string name, long value, long low, long high)
    {
        if (value < low || value > high)
            throw new ArgumentException($"{name} is {value}; allowed: {low} to {high}.");
    }
}
