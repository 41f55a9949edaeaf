using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Takes the matches and the gaps of one piece in order and keeps what a <see cref="SplitBehavior"/> makes of them.</summary>
internal struct Splitter(Pieces pieces, Pieces.Piece piece, SplitBehavior behavior, bool invert)
{
    private readonly bool _invert = invert;
    private int _covered;
    private int _heldStart;
    private int _heldEnd;
    private bool _holding;
    private bool _lastWasMatch;

    public static SplitBehavior Read(JsonPart part)
    {
        string name = part.String();
        return name switch
        {
            "Removed" => SplitBehavior.Removed,
            "Isolated" => SplitBehavior.Isolated,
            "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
            "MergedWithNext" => SplitBehavior.MergedWithNext,
            "Contiguous" => SplitBehavior.Contiguous,
            _ => throw part.Error($"is {JsonPart.Quote(name)}; it must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"),
        };
    }

    /// <summary>Splits every piece at each single code point of a set.</summary>
    public static void SplitAll(Pieces pieces, CodePointMatcher set, SplitBehavior behavior)
    {
        for (int i = 0; i < pieces.Count; i++)
        {
            Pieces.Piece piece = pieces[i];
            ReadOnlySpan<char> text = pieces.Text(piece);
            var splitter = new Splitter(pieces, piece, behavior, invert: false);
            for (int at = 0; at < text.Length; at++)
            {
                int length = set.MatchLength(text, at);
                if (length == 0)
                    continue;
                splitter.Match(at, at + length);
                at += length - 1;
            }

            splitter.End(text.Length);
        }

        pieces.Advance();
    }

    /// <summary>The next match, in coordinates of the piece; the gap before it is implied.</summary>
    public void Match(int start, int end)
    {
        if (start > _covered)
            Segment(_covered, start, _invert);
        Segment(start, end, !_invert);
        _covered = end;
    }

    /// <summary>No more matches: the rest of the piece is a gap.</summary>
    public void End(int length)
    {
        if (_covered < length)
            Segment(_covered, length, _invert);
        Release();
    }

    private void Segment(int start, int end, bool isMatch)
    {
        switch (behavior)
        {
            case SplitBehavior.Removed:
                if (!isMatch)
                    pieces.Keep(piece, start, end - start);
                return;
            case SplitBehavior.Isolated:
                pieces.Keep(piece, start, end - start);
                return;
            case SplitBehavior.Contiguous:
                Hold(start, end, join: isMatch == _lastWasMatch);
                break;
            case SplitBehavior.MergedWithPrevious:
                Hold(start, end, join: isMatch && !_lastWasMatch);
                break;
            default:
                // A match waits for the gap after it.
                Hold(start, end, join: _lastWasMatch && !isMatch);
                break;
        }

        _lastWasMatch = isMatch;
    }

    /// <summary>Joins a segment to the one held back, or lets that one go and holds this one.</summary>
    private void Hold(int start, int end, bool join)
    {
        if (join && _holding)
        {
            _heldEnd = end;
            return;
        }

        Release();
        (_heldStart, _heldEnd, _holding) = (start, end, true);
    }

    private void Release()
    {
        if (_holding)
            pieces.Keep(piece, _heldStart, _heldEnd - _heldStart);
        _holding = false;
    }
}
