using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "BertPreTokenizer": white space separates, every punctuation character stands alone.</summary>
internal sealed class BertPreTokenizer : IPreTokenizer
{
    public void Split(Pieces pieces)
    {
        Splitter.SplitAll(pieces, Categories.WhiteSpaceMatcher, SplitBehavior.Removed);
        Splitter.SplitAll(pieces, Categories.PunctuationMatcher, SplitBehavior.Isolated);
    }
}
