namespace InferenceService.Fuzz.Loop;

/// <summary>Seeded random numbers, the same on every machine and version: splitmix64 (Steele, Lea, Flood 2014).</summary>
internal sealed class Chance(ulong seed)
{
    private ulong _state = seed;

    /// <summary>64 random bits.</summary>
    public ulong Bits()
    {
        ulong z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>From 0 to below the limit, which is at least 1.</summary>
    public int Below(int limit) => (int)(((Bits() >> 32) * (ulong)limit) >> 32);

    /// <summary>True once in so many.</summary>
    public bool OneIn(int times) => Below(times) == 0;

    /// <summary>Small numbers much more often than large ones, from 1 to the limit.</summary>
    public int Small(int limit)
    {
        int bits = 1 + Below(Math.Max(1, 32 - int.LeadingZeroCount(limit)));
        return 1 + Below(Math.Min(limit, 1 << Math.Min(bits, 30)));
    }

    /// <summary>One of them.</summary>
    public T Of<T>(ReadOnlySpan<T> items) => items[Below(items.Length)];
}
