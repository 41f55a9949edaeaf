namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>The arithmetic of Hangul syllables (The Unicode Standard, section 3.12).</summary>
internal static class Hangul
{
    public const int FirstSyllable = 0xAC00;
    public const int Syllables = 11172;
    private const int FirstLeading = 0x1100, Leadings = 19;
    private const int FirstVowel = 0x1161, Vowels = 21;
    private const int BeforeFirstTrailing = 0x11A7, Trailings = 28;

    public static bool IsSyllable(int codePoint) => (uint)(codePoint - FirstSyllable) < Syllables;

    /// <summary>Two or three jamo; a missing trailing consonant is 0.</summary>
    public static (int Leading, int Vowel, int Trailing) Decompose(int syllable)
    {
        int index = syllable - FirstSyllable;
        int trailing = index % Trailings;
        return (FirstLeading + (index / (Vowels * Trailings)),
            FirstVowel + (index % (Vowels * Trailings) / Trailings),
            trailing == 0 ? 0 : BeforeFirstTrailing + trailing);
    }

    /// <summary>A leading and a vowel, or a syllable without trailing consonant and a trailing one; otherwise -1.</summary>
    public static int Compose(int first, int second)
    {
        if ((uint)(first - FirstLeading) < Leadings && (uint)(second - FirstVowel) < Vowels)
            return FirstSyllable + ((((first - FirstLeading) * Vowels) + (second - FirstVowel)) * Trailings);
        if (IsSyllable(first) && (first - FirstSyllable) % Trailings == 0 && (uint)(second - BeforeFirstTrailing - 1) < Trailings - 1)
            return first + (second - BeforeFirstTrailing);
        return -1;
    }
}
