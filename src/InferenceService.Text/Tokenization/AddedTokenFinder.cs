using System.Buffers;
using InferenceService.Text.Tokenization.Algorithms;

namespace InferenceService.Text.Tokenization;

/// <summary>Finds added tokens in a text: the leftmost, and of several at one place the longest.</summary>
internal sealed class AddedTokenFinder
{
    private readonly PieceTrie _trie;
    private readonly List<AddedToken> _tokens = [];
    private readonly SearchValues<char> _beginnings;

    /// <param name="tokens">What to look for, and the token it means. Of equal patterns the first counts, empty ones do not.</param>
    public AddedTokenFinder(IEnumerable<(string Pattern, AddedToken Token)> tokens)
    {
        var beginnings = new HashSet<char>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        _trie = new PieceTrie(16);
        foreach ((string pattern, AddedToken token) in tokens)
        {
            if (pattern.Length == 0 || !seen.Add(pattern))
                continue;
            _trie.Add(pattern, _tokens.Count);
            _tokens.Add(token);
            beginnings.Add(pattern[0]);
        }

        _beginnings = SearchValues.Create([.. beginnings]);
    }

    public bool IsEmpty => _tokens.Count == 0;

    public AddedToken? FindNext(ReadOnlySpan<char> text, int from, out int start, out int end)
    {
        for (start = from; start < text.Length; start++)
        {
            int skip = text[start..].IndexOfAny(_beginnings);
            if (skip < 0)
                break;
            start += skip;
            int found = -1;
            end = start;
            int node = PieceTrie.Root;
            for (int at = start; at < text.Length; at++)
            {
                node = _trie.Child(node, text[at]);
                if (node == PieceTrie.NoNode)
                    break;
                if (_trie.TokenAt(node) >= 0)
                    (found, end) = (_trie.TokenAt(node), at + 1);
            }

            if (found >= 0)
                return _tokens[found];
        }

        start = end = text.Length;
        return null;
    }
}
