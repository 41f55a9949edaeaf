using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Split": splits at a string or a regular expression; inverted, the gaps are the delimiters.</summary>
internal sealed class Split(JsonPart part) : IPreTokenizer
{
    private readonly Pattern _pattern = Pattern.Read(part.Required("pattern"));
    private readonly SplitBehavior _behavior = Splitter.Read(part.Required("behavior"));
    private readonly bool _invert = part.Bool("invert", false);

    public bool KeepsText => _behavior != SplitBehavior.Removed;

    void IPreTokenizer.Split(Pieces pieces) => PatternSplit.SplitAll(pieces, _pattern, _behavior, _invert);
}
