namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "Sequence": one normalizer after the other, with a bound on how much they may blow a text up together.</summary>
internal sealed class NormalizerSequence : INormalizer
{
    private const int MaxGrowth = 100;
    private const int FreeGrowth = 1_000_000;

    private readonly INormalizer[] _normalizers;

    public NormalizerSequence(JsonPart part) => _normalizers = [.. part.Array("normalizers").Select(NormalizerReader.Read)];

    /// <summary>Whether any of them, at any depth, is a <see cref="ByteLevelNormalizer"/>.</summary>
    public bool MapsBytes => _normalizers.Any(n => n is ByteLevelNormalizer or NormalizerSequence { MapsBytes: true });

    public int? Condensation => _normalizers.Aggregate((int?)1, (all, n) => all is < MaxGrowth ? all * n.Condensation : null);

    public string Normalize(string text)
    {
        long limit = FreeGrowth + ((long)MaxGrowth * text.Length);
        foreach (INormalizer normalizer in _normalizers)
        {
            text = normalizer.Normalize(text);
            if (text.Length > limit)
                throw new TokenizerException($"the normalizer blows a text up to {text.Length} characters");
        }

        return text;
    }
}
