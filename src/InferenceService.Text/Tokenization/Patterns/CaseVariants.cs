using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

/// <summary>Which code points are the same letter in another case (simple case folding), for (?i).</summary>
internal static class CaseVariants
{
    private static readonly Lazy<(int One, int Other)[]> Pairs = new(Collect);

    /// <summary>The set with every case variant of its members added.</summary>
    public static CodePointSet Close(CodePointSet set)
    {
        var closed = new CodePointSet();
        closed.Add(set);
        foreach ((int one, int other) in Pairs.Value)
        {
            if (set.Contains(one))
                closed.Add(other);
            if (set.Contains(other))
                closed.Add(one);
        }

        return closed.Settle();
    }

    private static (int One, int Other)[] Collect()
    {
        // Letters that fold together share their uppercase or lowercase; .NET maps these few only to themselves.
        List<(int, int)> pairs = [('s', 0x17F), ('S', 0x17F), ('k', 0x212A), ('K', 0x212A), (0xE5, 0x212B), (0xC5, 0x212B), (0x3C9, 0x2126),
            (0x3A9, 0x2126), (0x3C3, 0x3C2), (0x3A3, 0x3C2), (0xDF, 0x1E9E), (0x3B8, 0x3F4), (0x398, 0x3F4)];
        for (int c = 0; c <= 0x1FFFF; c++)
        {
            if (!Rune.IsValid(c))
                continue;
            int lower = Rune.ToLowerInvariant(new Rune(c)).Value;
            int upper = Rune.ToUpperInvariant(new Rune(c)).Value;
            if (lower != c)
                pairs.Add((c, lower));
            if (upper != c)
                pairs.Add((c, upper));
        }

        return [.. pairs];
    }
}
