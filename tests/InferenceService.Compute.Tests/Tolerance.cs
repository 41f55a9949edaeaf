namespace InferenceService.Compute.Tests;

/// <summary>How far a backend may be from the oracle: |a − b| ≤ absolute · scale + relative · |b|, scale being the largest magnitude expected.</summary>
public sealed record Tolerance(double Absolute, double Relative)
{
    /// <summary>Arithmetic in binary32, sums of a few thousand terms.</summary>
    public static Tolerance F32 { get; } = new(2e-6, 1e-5);

    /// <summary>So many times as much.</summary>
    public Tolerance Times(double factor) => new(factor * Absolute, factor * Relative);

    /// <summary>Throws on the first element that is too far off; NaN must meet NaN.</summary>
    public void AssertClose(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        double scale = 0;
        foreach (float value in expected)
            scale = float.IsFinite(value) ? Math.Max(scale, Math.Abs(value)) : scale;
        for (int i = 0; i < expected.Length; i++)
        {
            if (float.IsNaN(expected[i]) && float.IsNaN(actual[i]))
                continue;
            if (expected[i] == actual[i])
                continue;
            double distance = Math.Abs((double)expected[i] - actual[i]);
            if (!(distance <= Absolute * scale + Relative * Math.Abs(expected[i])))
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, expected {expected[i]:R}.");
        }
    }

    /// <summary>Throws unless the bits are equal.</summary>
    public static void AssertSame(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, expected exactly {expected[i]:R}.");
        }
    }
}
