using System.Text;

namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>NFC, NFD, NFKC and NFKD (UAX #15) from own tables: under InvariantGlobalization <c>string.Normalize</c> silently does
/// nothing.</summary>
internal static class Normalization
{
    /// <summary>The normalized text; the same instance when nothing has to change. Linear in the text, for any input.</summary>
    public static string Normalize(string text, UnicodeForm form)
    {
        if (IsNormalized(text, form))
            return text;
        var codePoints = new List<int>(text.Length + 16);
        var classes = new List<byte>(text.Length + 16);
        Decompose(text, form is UnicodeForm.Nfkc or UnicodeForm.Nfkd, codePoints, classes);
        Reorder(codePoints, classes);
        if (form is UnicodeForm.Nfc or UnicodeForm.Nfkc)
            Compose(codePoints, classes);
        return ToText(codePoints);
    }

    /// <summary>A quick check: false may also mean "perhaps".</summary>
    private static bool IsNormalized(string text, UnicodeForm form)
    {
        // Nothing below U+00A0 is ever changed, and nothing below U+0300 under NFC.
        int limit = form == UnicodeForm.Nfc ? 0x300 : 0xA0;
        NormalizationData data = NormalizationData.Instance;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] < limit)
                continue;
            int codePoint = text[i];
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                codePoint = char.ConvertToUtf32(text[i], text[++i]);
            if (!data.IsStable(codePoint, form))
                return false;
        }

        return true;
    }

    private static void Decompose(string text, bool compatibility, List<int> codePoints, List<byte> classes)
    {
        NormalizationData data = NormalizationData.Instance;
        foreach (Rune rune in text.EnumerateRunes())
        {
            int codePoint = rune.Value;
            if (Hangul.IsSyllable(codePoint))
            {
                (int leading, int vowel, int trailing) = Hangul.Decompose(codePoint);
                Add(leading);
                Add(vowel);
                if (trailing != 0)
                    Add(trailing);
                continue;
            }

            ReadOnlySpan<int> mapping = data.Decomposition(codePoint, compatibility);
            if (mapping.IsEmpty)
                Add(codePoint);
            foreach (int part in mapping)
                Add(part);
        }

        void Add(int codePoint)
        {
            codePoints.Add(codePoint);
            classes.Add((byte)data.CombiningClass(codePoint));
        }
    }

    /// <summary>Canonical ordering: every run of non-starters is sorted by class, stably.</summary>
    private static void Reorder(List<int> codePoints, List<byte> classes)
    {
        var keys = new List<ulong>();
        for (int i = 0; i < classes.Count; i++)
        {
            if (classes[i] == 0)
                continue;
            int start = i;
            bool ordered = true;
            for (i++; i < classes.Count && classes[i] != 0; i++)
                ordered &= classes[i - 1] <= classes[i];
            if (ordered)
                continue;

            // Class, then place, then code point in one number: an ordinary sort is stable and never quadratic.
            keys.Clear();
            for (int k = start; k < i; k++)
                keys.Add(((ulong)classes[k] << 56) | ((ulong)(k - start) << 24) | (uint)codePoints[k]);
            keys.Sort();
            for (int k = start; k < i; k++)
            {
                codePoints[k] = (int)(keys[k - start] & 0xFFFFFF);
                classes[k] = (byte)(keys[k - start] >> 56);
            }
        }
    }

    private static void Compose(List<int> codePoints, List<byte> classes)
    {
        NormalizationData data = NormalizationData.Instance;
        int kept = 0;
        int starter = -1;
        int lastClass = 0;
        for (int i = 0; i < codePoints.Count; i++)
        {
            int codePoint = codePoints[i];
            int combiningClass = classes[i];
            bool adjacent = starter == kept - 1;
            if (starter >= 0 && (adjacent || (lastClass < combiningClass && lastClass != 0)))
            {
                int composite = Hangul.Compose(codePoints[starter], codePoint);
                if (composite < 0)
                    composite = data.Composition(codePoints[starter], codePoint);
                if (composite >= 0)
                {
                    codePoints[starter] = composite;
                    continue;
                }
            }

            codePoints[kept] = codePoint;
            classes[kept] = (byte)combiningClass;
            if (combiningClass == 0)
                starter = kept;
            lastClass = combiningClass;
            kept++;
        }

        codePoints.RemoveRange(kept, codePoints.Count - kept);
        classes.RemoveRange(kept, classes.Count - kept);
    }

    private static string ToText(List<int> codePoints)
    {
        var text = new StringBuilder(codePoints.Count + 16);
        Span<char> units = stackalloc char[2];
        foreach (int codePoint in codePoints)
            text.Append(units[..new Rune(codePoint).EncodeToUtf16(units)]);
        return text.ToString();
    }
}
