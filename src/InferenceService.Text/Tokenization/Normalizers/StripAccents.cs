using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "StripAccents": drops every combining mark (category M). It does not decompose; NFD comes before it.</summary>
internal sealed class StripAccents : INormalizer
{
    public string Normalize(string text)
    {
        StringBuilder? result = null;
        int at = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool mark = rune.Value >= 0x300 && Categories.IsMark(rune.Value);
            if (mark)
                result ??= new StringBuilder(text, 0, at, text.Length);
            else
                result?.Append(text, at, rune.Utf16SequenceLength);
            at += rune.Utf16SequenceLength;
        }

        return result?.ToString() ?? text;
    }
}
