using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Which neighbouring characters no merge ever joins. A text may be cut between them without changing its encoding.</summary>
/// <remarks>A merge joins two symbols only into a token of the merge list, so two neighbours that stand side by side in no merged token
/// always stay apart. The set is a Bloom filter with one hash: a false hit only forgoes a cut.</remarks>
internal sealed class NeverMerged
{
    private const int Bits = 20;

    private readonly ulong[] _joined = new ulong[1 << (Bits - 6)];
    private readonly CodePointMatcher _known;

    /// <param name="vocabulary">Next to a character that is no token by itself nothing is cut, because unknown characters may fuse.</param>
    public NeverMerged(Vocabulary vocabulary)
    {
        var known = new CodePointSet();
        foreach ((string token, int _) in vocabulary.Entries)
        {
            if (token.Length == 1)
                known.Add(token[0]);
        }

        _known = known.Freeze();
    }

    /// <summary>Takes note of a merged token.</summary>
    public void Add(string token)
    {
        for (int i = 1; i < token.Length; i++)
        {
            uint bit = Bit(token[i - 1], token[i]);
            _joined[bit >> 6] |= 1UL << (int)(bit & 63);
        }
    }

    /// <summary>The length of the part before the first place where the piece may be cut; the whole piece when there is none.</summary>
    public int FirstPart(ReadOnlySpan<char> piece)
    {
        for (int i = 1; i < piece.Length; i++)
        {
            uint bit = Bit(piece[i - 1], piece[i]);
            if ((_joined[bit >> 6] & (1UL << (int)(bit & 63))) == 0 && _known.Contains(piece[i - 1]) && _known.Contains(piece[i]))
                return i;
        }

        return piece.Length;
    }

    private static uint Bit(char left, char right) => (((uint)left << 16) | right) * 0x9E37_79B1u >> (32 - Bits);
}
