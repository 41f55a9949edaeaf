using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "UnicodeScripts": splits where the script changes. Kana counts as Han; a space belongs to the script before it.</summary>
/// <remarks>Like the original, this drops what comes before the first character that has a script.</remarks>
internal sealed class UnicodeScripts : IPreTokenizer
{
    private readonly int _han = Index("Han");
    private readonly int _hiragana = Index("Hiragana");
    private readonly int _katakana = Index("Katakana");

    public void Split(Pieces pieces)
    {
        for (int i = 0; i < pieces.Count; i++)
        {
            Pieces.Piece piece = pieces[i];
            ReadOnlySpan<char> text = pieces.Text(piece);
            int start = text.Length, last = Scripts.None;
            for (int at = 0; at < text.Length;)
            {
                Rune.DecodeFromUtf16(text[at..], out Rune rune, out int length);
                int script = ScriptOf(rune.Value);
                if (script != Scripts.None)
                {
                    if (last != script)
                    {
                        pieces.Keep(piece, start, at - start); // nothing before the first script: the length is negative
                        start = at;
                    }

                    last = script;
                }

                at += length;
            }

            pieces.Keep(piece, start, text.Length - start);
        }

        pieces.Advance();
    }

    private static int Index(string name) => Scripts.Instance.TryGetIndex(name, out int index) ? index : Scripts.None;

    private int ScriptOf(int codePoint)
    {
        if (codePoint == ' ')
            return Scripts.None;
        int script = Scripts.Instance.Of(codePoint);
        return codePoint == 0x30FC || script == _hiragana || script == _katakana ? _han : script;
    }
}
