namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Type "WordPiece": greedily the longest token from the left; a word that does not come out even is unknown as a whole.</summary>
internal sealed class WordPiece : IAlgorithm
{
    private readonly WordCache _cache = new();
    private readonly PieceTrie _trie;
    private readonly int _continuation;
    private readonly int _maxCharacters;

    private WordPiece(JsonPart part)
    {
        Vocabulary = Vocabulary.Read(part.Required("vocab"));
        _trie = new PieceTrie(Vocabulary.Size);
        foreach ((string token, int id) in Vocabulary.Entries)
        {
            if (token.Length > 0)
                _trie.Add(token, id);
        }

        // Every later token of a word begins with the prefix, so the search for it begins below the prefix.
        _continuation = PieceTrie.Root;
        foreach (char unit in part.String("continuing_subword_prefix", "##"))
            _continuation = _continuation == PieceTrie.NoNode ? PieceTrie.NoNode : _trie.Child(_continuation, unit);
        _maxCharacters = (int)Math.Clamp(part.Optional("max_input_chars_per_word")?.Number() ?? 100, 0, int.MaxValue);
        UnknownId = Vocabulary.IdOf(part.String("unk_token", "[UNK]"));
    }

    public Vocabulary Vocabulary { get; }

    public int? UnknownId { get; }

    public static WordPiece Read(JsonPart part) => new(part);

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        bool cached = WordCache.Takes(piece);
        int slot = cached ? WordCache.SlotOf(piece) : 0;
        if (cached && _cache.TryAppend(piece, slot, ids))
            return;
        int before = ids.Count;
        if (Characters(piece) > _maxCharacters || !TryEncode(piece, ids))
        {
            ids.RemoveRange(before, ids.Count - before);
            if (UnknownId is { } unknown)
                ids.Add(unknown);
        }

        if (cached)
            _cache.Remember(piece, slot, [.. ids[before..]]);
    }

    private static int Characters(ReadOnlySpan<char> piece)
    {
        int count = piece.Length;
        foreach (char unit in piece)
        {
            if (char.IsLowSurrogate(unit))
                count--;
        }

        return count;
    }

    private bool TryEncode(ReadOnlySpan<char> piece, List<int> ids)
    {
        for (int start = 0; start < piece.Length;)
        {
            int node = start == 0 ? PieceTrie.Root : _continuation;
            int id = -1, end = start;
            for (int at = start; at < piece.Length && node != PieceTrie.NoNode; at++)
            {
                node = _trie.Child(node, piece[at]);
                if (node != PieceTrie.NoNode && _trie.TokenAt(node) >= 0)
                    (id, end) = (_trie.TokenAt(node), at + 1);
            }

            if (id < 0)
                return false;
            ids.Add(id);
            start = end;
        }

        return true;
    }
}
