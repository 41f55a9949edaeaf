namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "FixedLength": pieces of so many characters; the last one may be shorter.</summary>
internal sealed class FixedLength(JsonPart part) : IPreTokenizer
{
    private readonly int _length = part.Optional("length")?.Int(1, int.MaxValue) ?? 5;

    public void Split(Pieces pieces)
    {
        for (int i = 0; i < pieces.Count; i++)
        {
            Pieces.Piece piece = pieces[i];
            ReadOnlySpan<char> text = pieces.Text(piece);
            int start = 0, characters = 0;
            for (int at = 0; at < text.Length; at++)
            {
                if (char.IsLowSurrogate(text[at]))
                    continue;
                if (characters == _length)
                {
                    pieces.Keep(piece, start, at - start);
                    (start, characters) = (at, 0);
                }

                characters++;
            }

            pieces.Keep(piece, start, text.Length - start);
        }

        pieces.Advance();
    }
}
