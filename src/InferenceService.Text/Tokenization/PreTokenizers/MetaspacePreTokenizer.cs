using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Metaspace": spaces become a visible character, one may be put in front, and words begin with it.</summary>
internal sealed class MetaspacePreTokenizer : IPreTokenizer
{
    private readonly Metaspace _settings;
    private readonly CodePointMatcher _replacement;

    public MetaspacePreTokenizer(JsonPart part)
    {
        _settings = Metaspace.Read(part);
        _replacement = CodePointSet.Of(Rune.GetRuneAt(_settings.Replacement, 0).Value).Freeze();
    }

    public bool KeepsText => true;

    public void Split(Pieces pieces)
    {
        for (int i = 0; i < pieces.Count; i++)
        {
            Pieces.Piece piece = pieces[i];
            ReadOnlySpan<char> text = pieces.Text(piece);
            pieces.BeginPiece(piece.AtStart);
            bool wanted = _settings.Scheme == PrependScheme.Always || (_settings.Scheme == PrependScheme.First && piece.AtStart);
            if (wanted && text[0] != ' ' && !text.StartsWith(_settings.Replacement))
                pieces.Write(_settings.Replacement);
            foreach (char unit in text)
            {
                if (unit == ' ')
                    pieces.Write(_settings.Replacement);
                else
                    pieces.Write(unit);
            }

            pieces.EndPiece();
        }

        pieces.Advance();
        if (_settings.Split)
            Splitter.SplitAll(pieces, _replacement, SplitBehavior.MergedWithNext);
    }
}
