using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "ByteLevel": optionally a space in front and GPT-2's word pattern, then every byte as its visible character.</summary>
internal sealed class ByteLevelPreTokenizer(JsonPart part) : IPreTokenizer
{
    private static readonly Pattern Words =
        Pattern.Regex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+");

    private readonly bool _addPrefixSpace = part.Bool("add_prefix_space", true);
    private readonly bool _useRegex = part.Bool("use_regex", true);

    public bool KeepsText => true;

    public bool MapsBytes => true;

    public void Split(Pieces pieces)
    {
        if (_addPrefixSpace)
            Prefix(pieces);
        if (_useRegex)
            PatternSplit.SplitAll(pieces, Words, SplitBehavior.Isolated, invert: false);
        for (int i = 0; i < pieces.Count; i++)
        {
            Pieces.Piece piece = pieces[i];
            pieces.BeginPiece(piece.AtStart);
            ByteAlphabet.Encode(pieces.Text(piece), pieces);
            pieces.EndPiece();
        }

        pieces.Advance();
    }

    private static void Prefix(Pieces pieces)
    {
        for (int i = 0; i < pieces.Count; i++)
        {
            Pieces.Piece piece = pieces[i];
            ReadOnlySpan<char> text = pieces.Text(piece);
            pieces.BeginPiece(piece.AtStart);
            if (text[0] != ' ')
                pieces.Write(' ');
            pieces.Write(text);
            pieces.EndPiece();
        }

        pieces.Advance();
    }
}
