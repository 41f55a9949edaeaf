using System.Collections.Immutable;

namespace InferenceService.Models.Layers;

/// <summary>Angle a position of every pair of rotated elements, for each kind of <c>rope_scaling</c>.</summary>
/// <remarks>
/// Frequency i of the plain embedding is θ^(−2i/d), d the rotated elements of a head (arXiv:2104.09864). What each kind does with
/// its parameters, and their defaults, follows Hugging Face transformers, <c>modeling_rope_utils.py</c>.
/// </remarks>
internal static class RotaryFrequencies
{
    /// <summary>The frequencies of a model: rotaryDim / 2 of them. Those of the <c>dynamic</c> kind are for the original context.</summary>
    public static double[] Of(RopeConfig config, int maxPositions)
    {
        var frequencies = new double[config.RotaryDim / 2];
        Plain(config.Theta, frequencies);
        if (config.Scaling is not { } scaling)
            return frequencies;
        switch (scaling.Kind)
        {
            case RopeScaling.Linear:
                Linear(scaling.Factor, frequencies);
                break;
            case RopeScaling.Llama3:
                Llama3(scaling, frequencies);
                break;
            case RopeScaling.Yarn:
                Yarn(config, scaling, frequencies);
                break;
            case RopeScaling.LongRope:
                LongRope(scaling, maxPositions, frequencies);
                break;
        }

        return frequencies;
    }

    /// <summary>Factor on cosines and sines (so that attention logits are scaled by its square).</summary>
    public static double AttentionFactor(RopeConfig config)
    {
        if (config.Scaling is not { } scaling)
            return 1;
        return (scaling.Kind, scaling.AttentionFactor) switch
        {
            (RopeScaling.Yarn or RopeScaling.LongRope, { } stated) => stated,
            (RopeScaling.Yarn, null) when scaling is { MScale: > 0 and var scale, MScaleAllDim: > 0 and var all } =>
                YarnScale(scaling.Factor, scale) / YarnScale(scaling.Factor, all),
            (RopeScaling.Yarn, null) => YarnScale(scaling.Factor, 1),
            (RopeScaling.LongRope, null) when scaling is { Factor: > 1, OriginalMaxPositions: { } original } =>
                Math.Sqrt(1 + Math.Log(scaling.Factor) / Math.Log(original)),
            _ => 1,
        };
    }

    /// <summary><c>dynamic</c>: the base grows with the length, as for one sequence of <paramref name="length"/> tokens.</summary>
    public static void Dynamic(RopeConfig config, int length, Span<double> frequencies)
    {
        RopeScaling scaling = config.Scaling!;
        double dim = config.RotaryDim, original = scaling.OriginalMaxPositions!.Value;
        double growth = scaling.Factor * Math.Max(length, original) / original - (scaling.Factor - 1);
        Plain(config.Theta * Math.Pow(growth, dim / (dim - 2)), frequencies);
    }

    private static void Plain(double theta, Span<double> frequencies)
    {
        for (int i = 0; i < frequencies.Length; i++)
            frequencies[i] = Math.Pow(theta, -(double)i / frequencies.Length);
    }

    /// <summary><c>linear</c>: positions are divided by the factor (arXiv:2306.15595).</summary>
    private static void Linear(double factor, Span<double> frequencies)
    {
        for (int i = 0; i < frequencies.Length; i++)
            frequencies[i] /= factor;
    }

    /// <summary><c>llama3</c>: long waves are stretched, short ones kept, those between blended (arXiv:2407.21783).</summary>
    private static void Llama3(RopeScaling scaling, Span<double> frequencies)
    {
        double low = scaling.LowFrequencyFactor!.Value, high = scaling.HighFrequencyFactor!.Value;
        double original = scaling.OriginalMaxPositions!.Value;
        for (int i = 0; i < frequencies.Length; i++)
        {
            double wavesInContext = original * frequencies[i] / (2 * Math.PI);
            double kept = Math.Clamp((wavesInContext - low) / (high - low), 0, 1);
            frequencies[i] *= kept + (1 - kept) / scaling.Factor;
        }
    }

    /// <summary><c>yarn</c> (arXiv:2309.00071): a ramp over the pairs, from kept to divided by the factor.</summary>
    private static void Yarn(RopeConfig config, RopeScaling scaling, Span<double> frequencies)
    {
        double low = PairThatTurns(scaling.BetaFast ?? 32), high = PairThatTurns(scaling.BetaSlow ?? 1);
        if (scaling.Truncate)
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        low = Math.Max(low, 0);
        high = Math.Min(high, config.RotaryDim - 1);
        if (low == high)
            high += 0.001; // a step instead of a ramp, without dividing by zero
        for (int i = 0; i < frequencies.Length; i++)
        {
            double stretched = Math.Clamp((i - low) / (high - low), 0, 1);
            frequencies[i] *= 1 - stretched + stretched / scaling.Factor;
        }

        double PairThatTurns(double times) => config.RotaryDim
            * Math.Log(scaling.OriginalMaxPositions!.Value / (times * 2 * Math.PI)) / (2 * Math.Log(config.Theta));
    }

    /// <summary><c>longrope</c> (arXiv:2402.13753): every pair has its own factor, one list for the original context and one beyond.</summary>
    /// <remarks>
    /// Deviation: the reference implementation chooses the list by the current length and must compute the whole cache again when a
    /// sequence crosses the original context. Cached keys are rotated for life here, so the choice is made once: the long list if
    /// and only if <see cref="ModelConfig.MaxPositions"/>, which a server may lower, exceeds the original context.
    /// </remarks>
    internal static void LongRope(RopeScaling scaling, int maxPositions, Span<double> frequencies)
    {
        ImmutableArray<double> factors = maxPositions > scaling.OriginalMaxPositions ? scaling.LongFactors : scaling.ShortFactors;
        for (int i = 0; i < frequencies.Length; i++)
            frequencies[i] /= factors[i];
    }

    private static double YarnScale(double factor, double scale) => factor <= 1 ? 1 : 0.1 * scale * Math.Log(factor) + 1;
}
