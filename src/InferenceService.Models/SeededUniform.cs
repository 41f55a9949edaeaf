namespace InferenceService.Models;

/// <summary>Uniform numbers that are a pure function of (seed, name, index), so that any language makes them again bit for bit.</summary>
/// <remarks>
/// Element i is splitmix64 (Steele, Lea and Flood, OOPSLA 2014) at counter i + 1 from a key mixed of the seed and the FNV-1a hash of
/// the name; its top 24 bits, read as a signed number in [−1, 1), times the scale, plus the base, all in f32.
/// </remarks>
internal readonly struct SeededUniform
{
    private const ulong Gold = 0x9E3779B97F4A7C15;

    private readonly ulong _key;
    private readonly float _scale;
    private readonly float _base;

    /// <summary>The sequence of one name.</summary>
    public SeededUniform(ulong seed, string name, float scale, float shift = 0)
    {
        ulong hash = 0xCBF29CE484222325;
        foreach (char c in name)
            hash = (hash ^ c) * 0x100000001B3;
        (_key, _scale, _base) = (Mix(seed ^ hash), scale, shift);
    }

    /// <summary>Element <paramref name="index"/>.</summary>
    public float this[long index]
    {
        get
        {
            int signed = (int)(Mix(unchecked((ulong)(index + 1) * Gold + _key)) >> 40) - (1 << 23);
            float scaled = signed * (1f / (1 << 23)) * _scale;
            return scaled + _base;
        }
    }

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
