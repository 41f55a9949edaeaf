using System.Globalization;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Server.Configuration;

/// <summary>Narrower ranges of policy options than the policies' own, for one model. Immutable.</summary>
internal sealed class PolicyBounds
{
    private readonly Dictionary<string, (double Low, double High)> _ranges = new(StringComparer.Ordinal);

    private PolicyBounds()
    {
    }

    /// <summary>Null and the bounds, or what is wrong with them.</summary>
    /// <param name="texts">Option to <c>low,high</c>; an empty side is open.</param>
    public static string? Parse(IReadOnlyDictionary<string, string> texts, out PolicyBounds? bounds)
    {
        bounds = null;
        var result = new PolicyBounds();
        foreach ((string option, string text) in texts)
        {
            if (KvPolicyRegistry.Names.Any(name => KvPolicyRegistry.Find(name)!.Options.Any(known => known.Name == option && !known.Words.IsEmpty)))
                return $"{option} is one of a few words and has no bounds";
            string[] sides = text.Split(',');
            if (sides.Length != 2 || !TryRead(sides[0], double.NegativeInfinity, out double low) || !TryRead(sides[1], double.PositiveInfinity, out double high) || !(low <= high))
                return $"\"{text}\" is not a range of {option}; write low,high";
            result._ranges[option] = (low, high);
        }

        bounds = result;
        return null;
    }

    /// <summary>Why these option values of a policy are outside; null when they are not. A value that the model itself decides has no bounds.</summary>
    /// <param name="kind">The policy.</param>
    /// <param name="values">What is stated; the rest are its defaults. Every value is one of its option's.</param>
    public string? Refuse(KvPolicyKind kind, IReadOnlyDictionary<string, string> values)
    {
        foreach (KvPolicyOption option in kind.Options)
        {
            if (!_ranges.TryGetValue(option.Name, out (double Low, double High) range))
                continue;
            bool stated = values.TryGetValue(option.Name, out string? text);
            double? value = stated ? option.Read(text!) : option.Default;
            if (value < range.Low || value > range.High)
            {
                string from = double.IsNegativeInfinity(range.Low) ? option.Format(option.Low) : option.Format(range.Low);
                string to = double.IsPositiveInfinity(range.High) ? option.Format(option.High) : option.Format(range.High);
                return $"{option.Name} must be from {from} to {to} here, and is {option.Format(value.Value)}{(stated ? "" : " by default")}";
            }
        }

        return null;
    }

    private static bool TryRead(string text, double open, out double value)
    {
        value = open;
        return string.IsNullOrWhiteSpace(text) || (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value));
    }
}
