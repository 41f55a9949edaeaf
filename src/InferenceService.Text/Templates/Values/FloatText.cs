using System.Globalization;
using System.Numerics;

namespace InferenceService.Text.Templates.Values;

/// <summary>Doubles in decimal, as Python writes them: shortest form for <c>repr</c>, exact halves to even for a given precision.</summary>
internal static class FloatText
{
    /// <summary>Python's <c>repr(float)</c>: the shortest digits that read back as the same double.</summary>
    public static string Repr(double number)
    {
        if (!double.IsFinite(number))
            return NonFinite(number);
        (string digits, int exponent) = DigitsOf(number.ToString("R", CultureInfo.InvariantCulture));
        string sign = double.IsNegative(number) ? "-" : "";
        if (exponent is < -4 or >= 16)
            return sign + Scientific(digits, exponent, 'e');
        if (exponent < 0)
            return sign + "0." + new string('0', -exponent - 1) + digits;
        return digits.Length <= exponent + 1
            ? sign + digits.PadRight(exponent + 1, '0') + ".0"
            : sign + digits[..(exponent + 1)] + "." + digits[(exponent + 1)..];
    }

    public static string NonFinite(double number) => double.IsNaN(number) ? "nan" : number > 0 ? "inf" : "-inf";

    /// <summary>The absolute value with so many digits after the point (format <c>f</c>).</summary>
    public static string Fixed(double number, int precision)
    {
        string digits = Scaled(Math.Abs(number), precision).ToString(CultureInfo.InvariantCulture).PadLeft(precision + 1, '0');
        return precision == 0 ? digits : digits[..^precision] + "." + digits[^precision..];
    }

    /// <summary>The absolute value as one digit, point, so many digits, exponent (format <c>e</c>).</summary>
    public static string Exponential(double number, int precision, bool alternate = false)
    {
        (string digits, int exponent) = Significant(Math.Abs(number), precision + 1);
        string mantissa = precision == 0 ? digits + (alternate ? "." : "") : digits[..1] + "." + digits[1..];
        return mantissa + ExponentText(exponent, 'e');
    }

    /// <summary>The absolute value with so many significant digits, in whichever form is shorter (format <c>g</c>).</summary>
    public static string General(double number, int precision, bool alternate = false)
    {
        precision = Math.Max(1, precision);
        (string digits, int exponent) = Significant(Math.Abs(number), precision);
        if (exponent >= -4 && exponent < precision)
        {
            string text = exponent < 0
                ? "0." + new string('0', -exponent - 1) + digits
                : digits[..(exponent + 1)] + "." + digits[(exponent + 1)..];
            return alternate ? text : text.Contains('.') ? text.TrimEnd('0').TrimEnd('.') : text;
        }
        if (!alternate)
            digits = digits[..1] + digits[1..].TrimEnd('0');
        return alternate ? digits[..1] + "." + digits[1..] + ExponentText(exponent, 'e') : Scientific(digits, exponent, 'e');
    }

    /// <summary>Python's <c>round(float, digits)</c>.</summary>
    public static double Round(double number, int digits)
    {
        if (!double.IsFinite(number) || digits > 400)
            return number;
        if (digits < -400)
            return Math.CopySign(0, number);
        BigInteger scaled = Scaled(Math.Abs(number), digits);
        string text = scaled.ToString(CultureInfo.InvariantCulture) + "E" + (-digits).ToString(CultureInfo.InvariantCulture);
        return Math.CopySign(double.Parse(text, CultureInfo.InvariantCulture), number);
    }

    /// <summary>number · 10^precision, rounded half to even; exact.</summary>
    private static BigInteger Scaled(double number, int precision)
    {
        long bits = BitConverter.DoubleToInt64Bits(number);
        int exponent = (int)((bits >> 52) & 0x7FF);
        BigInteger numerator = exponent == 0 ? bits & 0xFFFFFFFFFFFFF : (bits & 0xFFFFFFFFFFFFF) | 0x10000000000000;
        exponent = Math.Max(exponent, 1) - 1075;
        BigInteger denominator = BigInteger.One;
        if (precision >= 0)
            numerator *= BigInteger.Pow(10, precision);
        else
            denominator = BigInteger.Pow(10, -precision);
        if (exponent >= 0)
            numerator <<= exponent;
        else
            denominator <<= -exponent;
        BigInteger quotient = BigInteger.DivRem(numerator, denominator, out BigInteger rest);
        int half = (rest * 2).CompareTo(denominator);
        return half > 0 || (half == 0 && !quotient.IsEven) ? quotient + 1 : quotient;
    }

    /// <summary>So many significant digits, and the power of ten of the first.</summary>
    private static (string Digits, int Exponent) Significant(double number, int count)
    {
        if (number == 0)
            return (new string('0', count), 0);
        int exponent = (int)Math.Floor(Math.Log10(number));
        string digits = Scaled(number, count - 1 - exponent).ToString(CultureInfo.InvariantCulture);
        if (digits.Length != count)
        {
            // The logarithm was off by one, or rounding made a new digit.
            exponent += digits.Length - count;
            digits = Scaled(number, count - 1 - exponent).ToString(CultureInfo.InvariantCulture);
        }
        return (digits, exponent);
    }

    /// <summary>Digits without leading or trailing zeros, and the power of ten of the first, of a number written by .NET.</summary>
    private static (string Digits, int Exponent) DigitsOf(string written)
    {
        int e = written.IndexOf('E', StringComparison.Ordinal);
        int exponent = e < 0 ? 0 : int.Parse(written.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        string mantissa = (e < 0 ? written : written[..e]).TrimStart('-');
        int point = mantissa.IndexOf('.', StringComparison.Ordinal);
        string digits = point < 0 ? mantissa : mantissa.Remove(point, 1);
        exponent += (point < 0 ? mantissa.Length : point) - 1;
        int zeros = digits.Length - digits.TrimStart('0').Length;
        digits = digits.Trim('0');
        return digits.Length == 0 ? ("0", 0) : (digits, exponent - zeros);
    }

    private static string Scientific(string digits, int exponent, char letter) =>
        (digits.Length == 1 ? digits : digits[..1] + "." + digits[1..]) + ExponentText(exponent, letter);

    private static string ExponentText(int exponent, char letter) =>
        $"{letter}{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent).ToString("00", CultureInfo.InvariantCulture)}";
}
