using System.Buffers;
using System.Text;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Type "Unigram" (Kudo, arXiv:1804.10959): the segmentation with the highest sum of token scores, by Viterbi.</summary>
internal sealed class Unigram : IAlgorithm
{
    /// <summary>How far below the worst token an unknown character scores (SentencePiece's kUnkPenalty).</summary>
    private const double UnknownPenalty = 10;

    private readonly PieceTrie _trie;
    private readonly WordCache _cache = new();
    private readonly double[] _scores;
    private readonly double _unknownScore;
    private readonly int[]? _byteTokens;

    private Unigram(JsonPart part)
    {
        JsonPart vocabulary = part.Required("vocab");
        int count = vocabulary.Count;
        if (count > Vocabulary.MaxId + 1)
            throw vocabulary.Error($"has {count} tokens; at most {Vocabulary.MaxId + 1} are allowed");
        var tokens = new List<string>(count);
        _scores = new double[count];
        double worst = double.PositiveInfinity;
        foreach (JsonPart entry in vocabulary.Items())
        {
            if (entry.Count != 2)
                throw entry.Error($"has {entry.Count} parts; it must be [token, score]");
            double score = new JsonPart(entry.Element[1], entry.Path).Number();
            _scores[tokens.Count] = score;
            worst = Math.Min(worst, score);
            tokens.Add(Vocabulary.Checked(new JsonPart(entry.Element[0], entry.Path).String(), vocabulary));
        }

        Vocabulary = Vocabulary.FromList(tokens);
        _unknownScore = worst - UnknownPenalty;
        _trie = new PieceTrie(count);
        foreach ((string token, int id) in Vocabulary.Entries)
        {
            if (token.Length > 0)
                _trie.Add(token, id);
        }

        if (part.Optional("unk_id") is { } unknown)
            UnknownId = count == 0 ? throw vocabulary.Error("is empty") : unknown.Int(0, count - 1);
        _byteTokens = part.Bool("byte_fallback", false) ? Vocabulary.ByteTokens() : null;
    }

    public Vocabulary Vocabulary { get; }

    public int? UnknownId { get; }

    public static Unigram Read(JsonPart part) => new(part);

    private struct Node
    {
        /// <summary>The best score of the text up to here.</summary>
        public double Score;

        /// <summary>Where the last token of that best path begins; -1 before any path reached this place.</summary>
        public int From;

        /// <summary>The last token's id, or -1 for an unknown character.</summary>
        public int Id;
    }

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        bool cached = WordCache.Takes(piece);
        int slot = cached ? WordCache.SlotOf(piece) : 0;
        if (cached && _cache.TryAppend(piece, slot, ids))
            return;
        int before = ids.Count;
        Node[] best = ArrayPool<Node>.Shared.Rent(piece.Length + 1);
        FindBest(piece, best);
        AppendPath(piece, best, ids);
        ArrayPool<Node>.Shared.Return(best);
        if (cached)
            _cache.Remember(piece, slot, [.. ids[before..]]);
    }

    private void FindBest(ReadOnlySpan<char> piece, Node[] best)
    {
        Array.Fill(best, new Node { From = -1 }, 0, piece.Length + 1);
        best[0] = default;
        for (int start = 0; start < piece.Length;)
        {
            double score = best[start].Score;
            int width = char.IsHighSurrogate(piece[start]) && start + 1 < piece.Length ? 2 : 1;
            bool single = false;
            int node = PieceTrie.Root;
            for (int end = start; end < piece.Length;)
            {
                node = _trie.Child(node, piece[end++]);
                if (node == PieceTrie.NoNode)
                    break;
                int id = _trie.TokenAt(node);
                if (id < 0)
                    continue;
                Reach(ref best[end], score + _scores[id], start, id);
                single |= end - start == width;
            }

            if (!single)
                Reach(ref best[start + width], score + _unknownScore, start, UnknownId ?? -1);
            start += width;
        }
    }

    private static void Reach(ref Node node, double score, int from, int id)
    {
        if (node.From < 0 || score > node.Score)
            node = new Node { Score = score, From = from, Id = id };
    }

    /// <summary>Walks the best path back, fuses neighbouring unknowns, and appends the ids in reading order.</summary>
    private void AppendPath(ReadOnlySpan<char> piece, Node[] best, List<int> ids)
    {
        int first = ids.Count;
        int unknown = UnknownId ?? -1;
        for (int end = piece.Length; end > 0;)
        {
            Node node = best[end];
            if (node.Id != unknown)
            {
                ids.Add(node.Id);
                end = node.From;
                continue;
            }

            int start = node.From;
            while (start > 0 && best[start].Id == unknown)
                start = best[start].From;
            AppendUnknown(piece[start..end], ids);
            end = start;
        }

        ids.Reverse(first, ids.Count - first);
    }

    /// <summary>A fused run may be a token after all; otherwise its bytes; otherwise the unknown token. Written backwards.</summary>
    private void AppendUnknown(ReadOnlySpan<char> run, List<int> ids)
    {
        if (Vocabulary.TryGetId(run, out int id))
        {
            ids.Add(id);
            return;
        }

        int before = ids.Count;
        if (_byteTokens is not null)
        {
            byte[] utf8 = new byte[Encoding.UTF8.GetByteCount(run)];
            Encoding.UTF8.GetBytes(run, utf8);
            for (int i = utf8.Length - 1; i >= 0 && _byteTokens[utf8[i]] >= 0; i--)
                ids.Add(_byteTokens[utf8[i]]);
            if (ids.Count - before == utf8.Length)
                return;
            ids.RemoveRange(before, ids.Count - before);
        }

        if (UnknownId is { } unknown)
            ids.Add(unknown);
    }
}
