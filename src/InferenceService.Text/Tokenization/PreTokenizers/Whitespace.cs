using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Whitespace": runs of word characters and runs of what is neither word nor space.</summary>
internal sealed class Whitespace : IPreTokenizer
{
    private static readonly Pattern Words = Pattern.Regex(@"\w+|[^\w\s]+");

    public void Split(Pieces pieces) => PatternSplit.SplitAll(pieces, Words, SplitBehavior.Removed, invert: true);
}
