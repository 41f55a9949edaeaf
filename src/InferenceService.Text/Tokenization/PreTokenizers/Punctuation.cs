using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Punctuation": splits at punctuation, by default each character alone.</summary>
internal sealed class Punctuation(JsonPart part) : IPreTokenizer
{
    private readonly SplitBehavior _behavior = part.Optional("behavior") is { } field ? Splitter.Read(field) : SplitBehavior.Isolated;

    public bool KeepsText => _behavior != SplitBehavior.Removed;

    public void Split(Pieces pieces) => Splitter.SplitAll(pieces, Categories.PunctuationMatcher, _behavior);
}
