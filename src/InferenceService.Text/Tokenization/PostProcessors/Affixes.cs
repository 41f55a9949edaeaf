namespace InferenceService.Text.Tokenization.PostProcessors;

/// <summary>Fixed special tokens around a text. Type "ByteLevel" is the empty case: it only moves offsets.</summary>
internal sealed record Affixes(IReadOnlyList<int> Before, IReadOnlyList<int> After) : IPostProcessor
{
    public static Affixes None { get; } = new([], []);
}
