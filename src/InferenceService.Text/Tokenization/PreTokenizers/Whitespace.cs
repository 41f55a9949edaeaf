using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Whitespace": runs of word characters and runs of what is neither word nor space.</summary>
internal sealed class Whitespace : IPreTokenizer
{
    // Rust's regex crate runs this one, not Oniguruma; their \w differ.
    private static readonly Pattern Words = Pattern.Regex(@"[[:word:]\x{200C}\x{200D}]+|[^[:word:]\x{200C}\x{200D}\s]+");

    public void Split(Pieces pieces) => PatternSplit.SplitAll(pieces, Words, SplitBehavior.Removed, invert: true);
}
