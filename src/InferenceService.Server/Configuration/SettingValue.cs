using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;

namespace InferenceService.Server.Configuration;

/// <summary>Turns the text of one setting into its property's type and checks the range that the property states.</summary>
internal static class SettingValue
{
    /// <summary>Null and the value, or what is wrong with the text, to be read after it.</summary>
    public static string? Parse(string text, Type type, PropertyInfo property, out object? value)
    {
        value = null;
        if (type == typeof(string))
            return ParseWord(text, property, out value);
        if (type == typeof(bool))
        {
            bool? flag = text.Trim().ToLowerInvariant() switch { "true" or "1" or "yes" or "on" => true, "false" or "0" or "no" or "off" => false, _ => null };
            value = flag;
            return flag is null ? "is neither true nor false" : null;
        }

        if (type == typeof(TimeSpan))
            return ParseDuration(text, property, out value);
        if (type == typeof(double))
        {
            if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double real) || !double.IsFinite(real))
                return $"is not a number{RangeText(property)}";
            value = real;
            return OutOfRange(property, real);
        }

        if (!HumanValues.TryParseInteger(text, out long number))
            return $"is not a whole number{RangeText(property)}";
        if (type == typeof(int) && number is < int.MinValue or > int.MaxValue)
            return $"is out of range{RangeText(property)}";
        value = type == typeof(int) ? (object)(int)number : number;
        return OutOfRange(property, number);
    }

    private static string? ParseWord(string text, PropertyInfo property, out object? value)
    {
        value = text;
        if (property.GetCustomAttribute<OneOfAttribute>() is not { } words)
            return null;
        string word = text.Trim().ToLowerInvariant();
        value = word;
        if (words.Allowed.Contains(word))
            return null;
        string allowed = string.Join(", ", words.Allowed);
        return words.NotYet.Contains(word)
            ? $"is not supported by this version yet (supported: {allowed})"
            : $"is not one of {allowed}{NearestName.Hint(word, words.Allowed)}";
    }

    private static string? ParseDuration(string text, PropertyInfo property, out object? value)
    {
        value = null;
        var range = property.GetCustomAttribute<SecondsAttribute>();
        string allowed = range is null ? "" : string.Create(CultureInfo.InvariantCulture, $" ({range.Minimum} s to {range.Maximum} s)");
        if (!HumanValues.TryParseDuration(text, out TimeSpan span))
            return $"is not a duration{allowed}; write seconds, or a number with ms, s, m or h";
        value = span;
        return range is not null && (span.TotalSeconds < range.Minimum || span.TotalSeconds > range.Maximum) ? $"is out of range{allowed}" : null;
    }

    private static string? OutOfRange(PropertyInfo property, double number)
    {
        if (property.GetCustomAttribute<AllowedValuesAttribute>() is { } values)
            return values.Values.Any(v => Convert.ToDouble(v, CultureInfo.InvariantCulture) == number) ? null : $"is not one of {string.Join(", ", values.Values)}";
        if (property.GetCustomAttribute<RangeAttribute>() is not { } range)
            return null;
        bool inside = number >= Convert.ToDouble(range.Minimum, CultureInfo.InvariantCulture)
            && number <= Convert.ToDouble(range.Maximum, CultureInfo.InvariantCulture);
        return inside ? null : $"is out of range{RangeText(property)}";
    }

    private static string RangeText(PropertyInfo property) => property.GetCustomAttribute<RangeAttribute>() is { } range
        ? string.Create(CultureInfo.InvariantCulture, $" ({range.Minimum:0.####} to {range.Maximum:0.####})")
        : "";
}
