using System.Text;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "Lowercase": every character by itself, so a final sigma stays a plain one.</summary>
internal sealed class Lowercase : INormalizer
{
    public int? Condensation => 1;

    public string Normalize(string text) => ToLower(text);

    public static string ToLower(string text)
    {
        // .NET's invariant mapping leaves U+0130 alone; Unicode's full mapping is "i" with a dot above.
        if (!text.Contains('\u0130'))
            return text.ToLowerInvariant();
        var lower = new StringBuilder(text.Length + 8);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.Value == 0x130)
                lower.Append("i\u0307");
            else
                lower.Append(Rune.ToLowerInvariant(rune).ToString());
        }

        return lower.ToString();
    }
}
