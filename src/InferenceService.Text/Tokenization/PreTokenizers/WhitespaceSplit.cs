using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "WhitespaceSplit": white space separates.</summary>
internal sealed class WhitespaceSplit : IPreTokenizer
{
    public void Split(Pieces pieces) => Splitter.SplitAll(pieces, Categories.WhiteSpaceMatcher, SplitBehavior.Removed);
}
