using System.Text;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "Nmt": SentencePiece's NMT rules. Control characters go, odd white space becomes a space.</summary>
internal sealed class Nmt : INormalizer
{
    public string Normalize(string text)
    {
        StringBuilder? result = null;
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            bool dropped = IsDropped(c);
            bool spaced = !dropped && IsSpace(c);
            if ((dropped || spaced) && result is null)
                result = new StringBuilder(text, 0, i, text.Length);
            if (!dropped)
                result?.Append(spaced ? ' ' : c);
        }

        return result?.ToString() ?? text;
    }

    private static bool IsDropped(char c) => (int)c is (>= 0x1 and <= 0x8) or 0xB or (>= 0xE and <= 0x1F) or 0x7F or 0x8F or 0x9F;

    private static bool IsSpace(char c) => (int)c is 0x9 or 0xA or 0xC or 0xD or 0x1680 or (>= 0x200B and <= 0x200F) or 0x2028 or 0x2029 or 0x2581
        or 0xFEFF or 0xFFFD;
}
