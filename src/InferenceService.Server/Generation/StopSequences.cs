namespace InferenceService.Server.Generation;

/// <summary>
/// The stop strings of a request, prepared for matching while text arrives piece by piece. The text ends where the first
/// stop string is complete (of several that end together the longest counts), wherever the pieces are cut.
/// </summary>
/// <remarks>Knuth, Morris, Pratt: "Fast pattern matching in strings" (1977). Immutable, shared by all choices of a request.</remarks>
internal sealed class StopSequences
{
    private readonly string[] _stops;
    private readonly int[][] _borders;

    /// <param name="stops">None empty.</param>
    public StopSequences(IReadOnlyList<string> stops)
    {
        _stops = [.. stops];
        _borders = Array.ConvertAll(_stops, Borders);
    }

    /// <summary>Whether there is nothing to look for.</summary>
    public bool IsEmpty => _stops.Length == 0;

    /// <summary>Starts matching in one choice's text.</summary>
    public Scanner NewScanner() => new(this);

    // borders[i]: length of the longest proper prefix of the stop string that also ends at its character i.
    private static int[] Borders(string stop)
    {
        var borders = new int[stop.Length];
        for (int i = 1, matched = 0; i < stop.Length; i++)
        {
            while (matched > 0 && stop[i] != stop[matched])
                matched = borders[matched - 1];
            if (stop[i] == stop[matched])
                matched++;
            borders[i] = matched;
        }

        return borders;
    }

    /// <summary>Where one choice's text stands. It holds back only what could still become a stop string.</summary>
    internal sealed class Scanner(StopSequences sequences)
    {
        private readonly int[] _matched = new int[sequences._stops.Length];
        private readonly TextBuffer _held = new();

        /// <summary>The stop string that was found; null while none was.</summary>
        public string? Found { get; private set; }

        /// <summary>Takes the next piece of text and appends to <paramref name="output"/> what is certain not to belong to a stop string.</summary>
        /// <param name="includeStop">A found stop string is appended as well.</param>
        /// <returns>True when a stop string is complete: the text ends here, the rest of the piece is dropped.</returns>
        public bool Push(ReadOnlySpan<char> piece, bool includeStop, TextBuffer output)
        {
            foreach (char c in piece)
            {
                _held.Append(c);
                Found = Step(c);
                if (Found is not null)
                {
                    output.Append(_held.Span[..(includeStop ? _held.Length : _held.Length - Found.Length)]);
                    _held.Clear();
                    return true;
                }
            }

            int longest = 0;
            foreach (int matched in _matched)
                longest = Math.Max(longest, matched);
            output.Append(_held.Span[..(_held.Length - longest)]);
            _held.RemoveStart(_held.Length - longest);
            return false;
        }

        /// <summary>The text has ended: appends what was held back.</summary>
        public void Flush(TextBuffer output)
        {
            output.Append(_held.Span);
            _held.Clear();
        }

        private string? Step(char c)
        {
            string? found = null;
            for (int s = 0; s < _matched.Length; s++)
            {
                string stop = sequences._stops[s];
                int matched = _matched[s];
                while (matched > 0 && stop[matched] != c)
                    matched = sequences._borders[s][matched - 1];
                if (stop[matched] == c)
                    matched++;
                _matched[s] = matched;
                if (matched == stop.Length && stop.Length > (found?.Length ?? 0))
                    found = stop;
            }

            return found;
        }
    }
}
