using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "CharDelimiterSplit": one character separates.</summary>
internal sealed class CharDelimiterSplit(JsonPart part) : IPreTokenizer
{
    private readonly CodePointMatcher _delimiter =
        CodePointSet.Of(Rune.GetRuneAt(part.Required("delimiter").Character(), 0).Value).Freeze();

    public void Split(Pieces pieces) => Splitter.SplitAll(pieces, _delimiter, SplitBehavior.Removed);
}
