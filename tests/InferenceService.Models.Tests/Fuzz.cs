namespace InferenceService.Models.Tests;

/// <summary>Seeded damage to bytes.</summary>
internal static class Fuzz
{
    /// <summary>A copy with one to four bytes changed, or cut short, or with bytes put in.</summary>
    public static byte[] Damage(byte[] whole, Random random)
    {
        byte[] copy = [.. whole];
        switch (random.Next(6))
        {
            case 0:
                return copy[..random.Next(copy.Length)];
            case 1:
                int at = random.Next(copy.Length);
                var inserted = new byte[random.Next(1, 9)];
                random.NextBytes(inserted);
                return [.. copy[..at], .. inserted, .. copy[at..]];
            case 2:
                int from = random.Next(copy.Length), count = random.Next(1, copy.Length - from + 1);
                return [.. copy[..from], .. copy[(from + count)..]];
            default:
                for (int i = random.Next(1, 5); i > 0; i--)
                    copy[random.Next(copy.Length)] = random.Next(2) == 0 ? (byte)random.Next(256) : (byte)"0123456789-.eE{}[]\",:\\ "[random.Next(23)];
                return copy;
        }
    }
}
