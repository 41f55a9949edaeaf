using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Digits": numbers apart from the rest, whole or digit by digit.</summary>
internal sealed class Digits(JsonPart part) : IPreTokenizer
{
    private readonly SplitBehavior _behavior = part.Bool("individual_digits", false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous;

    public bool KeepsText => true;

    public void Split(Pieces pieces) => Splitter.SplitAll(pieces, Categories.NumericMatcher, _behavior);
}
