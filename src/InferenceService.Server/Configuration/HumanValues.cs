using System.Globalization;

namespace InferenceService.Server.Configuration;

/// <summary>Numbers and durations as people write them.</summary>
internal static class HumanValues
{
    /// <summary>
    /// A whole number, with an optional factor: k, m, g, t are powers of 1000; K, M, G, T and Ki, Mi, Gi, Ti (also with B) powers of 1024.
    /// A fraction is allowed when the product is whole: 25.6k.
    /// </summary>
    public static bool TryParseInteger(string text, out long value)
    {
        value = 0;
        ReadOnlySpan<char> span = text.AsSpan().Trim();
        int digits = span.Length;
        while (digits > 0 && !char.IsAsciiDigit(span[digits - 1]))
            digits--;
        if (Factor(span[digits..].Trim()) is not { } factor)
            return false;
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint;
        if (!decimal.TryParse(span[..digits], Style, CultureInfo.InvariantCulture, out decimal number))
            return false;
        if (Math.Abs(number) > long.MaxValue / factor)
            return false;
        decimal product = number * factor;
        if (product != decimal.Truncate(product))
            return false;
        value = (long)product;
        return true;
    }

    /// <summary>A duration: seconds without a unit, a number with ms, s, m, h or d, or hh:mm:ss.</summary>
    public static bool TryParseDuration(string text, out TimeSpan value)
    {
        value = default;
        string trimmed = text.Trim();
        if (trimmed.Contains(':', StringComparison.Ordinal))
            return TimeSpan.TryParse(trimmed, CultureInfo.InvariantCulture, out value);
        (string number, double unit) = trimmed switch
        {
            _ when trimmed.EndsWith("ms", StringComparison.Ordinal) => (trimmed[..^2], 0.001),
            _ when trimmed.EndsWith('s') => (trimmed[..^1], 1.0),
            _ when trimmed.EndsWith('m') => (trimmed[..^1], 60.0),
            _ when trimmed.EndsWith('h') => (trimmed[..^1], 3600.0),
            _ when trimmed.EndsWith('d') => (trimmed[..^1], 86_400.0),
            _ => (trimmed, 1.0),
        };
        if (!double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out double amount))
            return false;
        double seconds = amount * unit;
        if (!double.IsFinite(seconds) || Math.Abs(seconds) > 1e9)
            return false;
        value = TimeSpan.FromSeconds(seconds);
        return true;
    }

    /// <summary>Bytes with a binary unit: <c>1.5 GiB</c>.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        >= 1L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):0.##} GiB"),
        >= 1L << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 20):0.##} MiB"),
        >= 1L << 10 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 10):0.##} KiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes} B"),
    };

    private static long? Factor(ReadOnlySpan<char> suffix) => suffix switch
    {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "K" or "Ki" or "KiB" => 1L << 10,
        "M" or "Mi" or "MiB" => 1L << 20,
        "G" or "Gi" or "GiB" => 1L << 30,
        "T" or "Ti" or "TiB" => 1L << 40,
        _ => null,
    };
}
