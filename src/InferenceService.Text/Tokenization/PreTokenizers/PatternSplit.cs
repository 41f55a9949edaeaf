using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Splitting at the matches of a pattern, for every pre-tokenizer that has one.</summary>
internal static class PatternSplit
{
    public static void SplitAll(Pieces pieces, Pattern pattern, SplitBehavior behavior, bool invert)
    {
        for (int i = 0; i < pieces.Count; i++)
        {
            Pieces.Piece piece = pieces[i];
            ReadOnlySpan<char> text = pieces.Text(piece);
            var splitter = new Splitter(pieces, piece, behavior, invert);
            PatternScan scan = pattern.Scan(text);
            try
            {
                while (scan.Next())
                    splitter.Match(scan.Start, scan.End);
            }
            finally
            {
                scan.Dispose();
            }

            splitter.End(text.Length);
        }

        pieces.Advance();
    }
}
