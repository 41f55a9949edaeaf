using System.Numerics;

namespace InferenceService.Text.Templates.Values;

/// <summary>Numbers as Python sees them: booleans count as 0 and 1, integers are exact, floats are doubles.</summary>
internal static class Numbers
{
    public static bool IsNumber(Value value) => value is IntValue or FloatValue or BoolValue;

    public static bool IsInteger(Value value) => value is IntValue or BoolValue;

    /// <summary>The value of an integer or a boolean.</summary>
    public static BigInteger ToInteger(Value value) =>
        value is IntValue i ? i.Number : ReferenceEquals(value, BoolValue.True) ? BigInteger.One : BigInteger.Zero;

    /// <summary>The value of any number as a double.</summary>
    public static double ToDouble(Value value)
    {
        if (value is FloatValue f)
            return f.Number;
        double number = NearestDouble(ToInteger(value));
        return double.IsFinite(number) ? number : throw new TemplateException("int too large to convert to float");
    }

    /// <summary>The double next to an integer, halves to even; .NET's own conversion cuts off.</summary>
    public static double NearestDouble(BigInteger number)
    {
        BigInteger size = BigInteger.Abs(number);
        int shift = (int)size.GetBitLength() - 63;
        if (shift <= 0)
            return (long)number;
        BigInteger high = size >> shift;
        if (high << shift != size)
            high |= 1; // remembers that something was cut off below
        double nearest = Math.ScaleB((double)(long)high, shift);
        return number.Sign < 0 ? -nearest : nearest;
    }

    /// <summary>Order of two numbers, exact between integers and floats. Not for NaN: see <see cref="IsNaN"/>.</summary>
    public static int Compare(Value a, Value b)
    {
        if (a is FloatValue x && b is FloatValue y)
            return x.Number.CompareTo(y.Number);
        if (a is FloatValue left)
            return -Compare(ToInteger(b), left.Number);
        return b is FloatValue right ? Compare(ToInteger(a), right.Number) : ToInteger(a).CompareTo(ToInteger(b));
    }

    public static bool IsNaN(Value value) => value is FloatValue { Number: double.NaN };

    /// <summary>An argument that must be an integer and fit 32 bits; larger ones are clamped, which is enough for positions and counts.</summary>
    public static int ToInt32(Value value)
    {
        if (value is UndefinedValue undefined)
            throw undefined.Error();
        if (!IsInteger(value))
            throw new TemplateException($"'{value.TypeName}' object cannot be interpreted as an integer");
        return (int)BigInteger.Max(int.MinValue, BigInteger.Min(int.MaxValue, ToInteger(value)));
    }

    private static int Compare(BigInteger a, double b)
    {
        if (double.IsNaN(b))
            return 1;
        if (double.IsInfinity(b))
            return b > 0 ? -1 : 1;
        double floor = Math.Floor(b);
        int order = a.CompareTo(new BigInteger(floor));
        return order == 0 && floor != b ? -1 : order;
    }
}
