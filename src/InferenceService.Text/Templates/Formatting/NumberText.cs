using System.Numerics;
using System.Text;

namespace InferenceService.Text.Templates.Formatting;

/// <summary>Digits of integers in other bases, and separators between groups of digits.</summary>
internal static class NumberText
{
    /// <summary>A number that is not negative, in base 2, 8 or 16.</summary>
    public static string InBase(BigInteger number, int radix)
    {
        if (number.IsZero)
            return "0";
        StringBuilder digits = new();
        for (; !number.IsZero; number /= radix)
            digits.Insert(0, "0123456789abcdef"[(int)(number % radix)]);
        return digits.ToString();
    }

    public static int GroupedLength(int digits, int group) => digits + (digits - 1) / group;

    public static string Grouped(string digits, int group, char separator)
    {
        var text = new StringBuilder(GroupedLength(digits.Length, group));
        for (int at = 0, end = digits.Length % group; at < digits.Length; at = end, end += group)
        {
            if (at > 0)
                text.Append(separator);
            text.Append(digits, at, end - at);
        }

        return text.ToString();
    }

    /// <summary>A float in general form, with at least one digit after the point.</summary>
    public static string WithPoint(string text) =>
        text.AsSpan().IndexOfAny(".e") >= 0 ? text : text + ".0";
}
