using System.Globalization;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting;

/// <summary>Lengths that requests have (prompt and output together), and how often each comes.</summary>
/// <param name="Shares">Tokens and weight; weights need not add up to anything.</param>
internal sealed record CapacityMix(IReadOnlyList<(int Tokens, double Weight)> Shares)
{
    private const int MaxShares = 64;

    /// <summary>Reads <c>512:70,4k:30</c>; a length without a weight counts once. Null, or what is wrong with it.</summary>
    public static string? Parse(string text, out CapacityMix? mix)
    {
        mix = null;
        var shares = new List<(int, double)>();
        foreach (string part in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] pair = part.Split(':');
            double weight = 1;
            long tokens = 0;
            bool read = pair.Length <= 2 && HumanValues.TryParseInteger(pair[0], out tokens) && tokens is > 0 and <= int.MaxValue
                && (pair.Length == 1 || (double.TryParse(pair[1], NumberStyles.Float, CultureInfo.InvariantCulture, out weight) && double.IsFinite(weight) && weight > 0));
            if (!read || shares.Count == MaxShares)
                return $"\"{(part.Length <= 64 ? part : part[..64] + "…")}\" is not a length with its weight; write up to {MaxShares} such as 512:70,4k:30";
            shares.Add(((int)tokens, weight));
        }

        if (shares.Count == 0)
            return "names no length; write lengths with their weights such as 512:70,4k:30";
        mix = new CapacityMix(shares);
        return null;
    }

    /// <summary>Mean of what a length takes, over the mix.</summary>
    public double Mean(Func<int, double> of) => Shares.Sum(share => share.Weight * of(share.Tokens)) / Shares.Sum(share => share.Weight);

    /// <summary>As it was written.</summary>
    public override string ToString() => string.Join(", ", Shares.Select(share => string.Create(CultureInfo.InvariantCulture, $"{share.Tokens}:{share.Weight:0.##}")));
}
