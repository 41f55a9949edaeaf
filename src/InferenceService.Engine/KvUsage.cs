namespace InferenceService.Engine;

/// <summary>What the choices of a request held in the KV cache when they ended, summed; blocks that they shared count once.</summary>
/// <param name="Policy">The policy's name.</param>
/// <param name="LogicalTokens">Tokens whose K and V were computed or found.</param>
/// <param name="KeptTokens">Of these, kept at the end: the mean over the lanes.</param>
/// <param name="Bytes">Bytes of the blocks held.</param>
/// <param name="BytesFull">Bytes that keeping every token of every layer, unquantised, takes.</param>
public readonly record struct KvUsage(string Policy, long LogicalTokens, long KeptTokens, long Bytes, long BytesFull)
{
    /// <summary>How many times less; 1 when nothing was held.</summary>
    public double CompressionRatio => Bytes == 0 ? 1 : (double)BytesFull / Bytes;
}
