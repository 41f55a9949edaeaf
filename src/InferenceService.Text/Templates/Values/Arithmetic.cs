using System.Numerics;

namespace InferenceService.Text.Templates.Values;

/// <summary>The operators <c>+ - * / // % **</c> with Python's rules, and the sequence forms of <c>+</c>, <c>*</c> and <c>%</c>.</summary>
internal static class Arithmetic
{
    public static Value Binary(string op, Value a, Value b, Budget budget)
    {
        if (op == "%" && a is StringValue format)
            return Formatting.PercentFormat.Apply(format, b, budget);
        if (a is UndefinedValue u)
            throw u.Error();
        if (b is UndefinedValue v)
            throw v.Error();
        if (Numbers.IsNumber(a) && Numbers.IsNumber(b))
        {
            return a is FloatValue || b is FloatValue || op == "/"
                ? Floats(op, a, b)
                : Integers(op, Numbers.ToInteger(a), Numbers.ToInteger(b), budget);
        }
        switch (op)
        {
            case "+" when Concatenated(a, b, budget) is { } sum:
                return sum;
            case "*" when Numbers.IsInteger(b) && a is StringValue or SequenceValue:
                return Repeated(a, b, budget);
            case "*" when Numbers.IsInteger(a) && b is StringValue or SequenceValue:
                return Repeated(b, a, budget);
            default:
                throw Unsupported(op, a, b);
        }
    }

    public static Value Negative(Value value) => value switch
    {
        UndefinedValue undefined => throw undefined.Error(),
        FloatValue f => new FloatValue(-f.Number),
        _ when Numbers.IsInteger(value) => new IntValue(-Numbers.ToInteger(value)),
        _ => throw new TemplateException($"bad operand type for unary -: '{value.TypeName}'"),
    };

    public static Value Positive(Value value) => value switch
    {
        UndefinedValue undefined => throw undefined.Error(),
        FloatValue => value,
        _ when Numbers.IsInteger(value) => new IntValue(Numbers.ToInteger(value)),
        _ => throw new TemplateException($"bad operand type for unary +: '{value.TypeName}'"),
    };

    /// <summary>Division that rounds to minus infinity.</summary>
    public static BigInteger FloorDivide(BigInteger a, BigInteger b)
    {
        BigInteger quotient = BigInteger.DivRem(a, b, out BigInteger rest);
        return !rest.IsZero && rest.Sign != b.Sign ? quotient - 1 : quotient;
    }

    private static IntValue IntegerPower(BigInteger a, BigInteger b, Budget budget)
    {
        if (a.IsZero || a.IsOne)
            return new IntValue(b.IsZero ? BigInteger.One : a);
        if (a == BigInteger.MinusOne)
            return new IntValue(b.IsEven ? 1 : -1);
        if (b > IntValue.MaxBits || (a.GetBitLength() - 1) * (long)b > IntValue.MaxBits)
            throw new TemplateException($"an integer is larger than {IntValue.MaxBits} bits");
        budget.Spend((long)b);
        return new IntValue(BigInteger.Pow(a, (int)b));
    }

    private static Value Integers(string op, BigInteger a, BigInteger b, Budget budget) => op switch
    {
        "+" => new IntValue(a + b),
        "-" => new IntValue(a - b),
        "*" => new IntValue(a * b),
        "//" when b.IsZero => throw new TemplateException("integer division or modulo by zero"),
        "%" when b.IsZero => throw new TemplateException("integer modulo by zero"),
        "//" => new IntValue(FloorDivide(a, b)),
        "%" => new IntValue(a - FloorDivide(a, b) * b),
        "**" when b.Sign < 0 => new FloatValue(FloatPower(Numbers.NearestDouble(a), Numbers.NearestDouble(b))),
        _ => IntegerPower(a, b, budget),
    };

    private static FloatValue Floats(string op, Value left, Value right)
    {
        if (op == "/" && left is not FloatValue && right is not FloatValue)
            return new FloatValue(DivideIntegers(Numbers.ToInteger(left), Numbers.ToInteger(right)));
        double a = Numbers.ToDouble(left), b = Numbers.ToDouble(right);
        return new FloatValue(op switch
        {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" when b == 0 => throw new TemplateException("float division by zero"),
            "/" => a / b,
            "//" when b == 0 => throw new TemplateException("float floor division by zero"),
            "%" when b == 0 => throw new TemplateException("float modulo"),
            "//" => FloorDivide(a, b),
            "%" => Modulo(a, b),
            _ => FloatPower(a, b),
        });
    }

    /// <summary>The nearest double to an exact quotient.</summary>
    private static double DivideIntegers(BigInteger a, BigInteger b)
    {
        if (b.IsZero)
            throw new TemplateException("division by zero");
        if (a.IsZero)
            return 0;
        if (a.GetBitLength() <= 53 && b.GetBitLength() <= 53)
            return (double)a / (double)b;
        // 64 more bits than a double needs are kept and the lost rest is remembered in the last one, so one rounding remains.
        int shift = (int)(64 + 55 - (a.GetBitLength() - b.GetBitLength()));
        BigInteger quotient = shift >= 0
            ? BigInteger.DivRem(BigInteger.Abs(a) << shift, BigInteger.Abs(b), out BigInteger rest)
            : BigInteger.DivRem(BigInteger.Abs(a), BigInteger.Abs(b) << -shift, out rest);
        if (!rest.IsZero)
            quotient |= 1;
        double result = Math.ScaleB(Numbers.NearestDouble(quotient), -shift);
        if (double.IsInfinity(result))
            throw new TemplateException("integer division result too large for a float");
        return a.Sign == b.Sign ? result : -result;
    }

    private static double FloorDivide(double a, double b)
    {
        double rest = Modulo(a, b);
        double quotient = (a - rest) / b;
        if (quotient == 0)
            return Math.CopySign(0, a / b);
        double floor = Math.Floor(quotient);
        return quotient - floor > 0.5 ? floor + 1 : floor;
    }

    private static double Modulo(double a, double b)
    {
        double rest = a % b;
        if (rest == 0)
            return Math.CopySign(0, b);
        return rest < 0 != b < 0 ? rest + b : rest;
    }

    private static double FloatPower(double a, double b)
    {
        if (a == 0 && b < 0)
            throw new TemplateException("0.0 cannot be raised to a negative power");
        if (a < 0 && double.IsFinite(a) && double.IsFinite(b) && Math.Floor(b) != b)
            throw new TemplateException("a negative number cannot be raised to a fractional power here");
        double result = Math.Pow(a, b);
        if (double.IsInfinity(result) && double.IsFinite(a) && double.IsFinite(b))
            throw new TemplateException("the result of ** is too large for a float");
        return result;
    }

    private static Value? Concatenated(Value a, Value b, Budget budget)
    {
        switch (a, b)
        {
            case (StringValue x, StringValue y):
                bool markup = x.IsMarkup || y.IsMarkup;
                string left = markup ? Markup.Escape(x, budget) : x.Text;
                string right = markup ? Markup.Escape(y, budget) : y.Text;
                budget.MakeChars((long)left.Length + right.Length);
                return new StringValue(left + right, markup);
            case (ListValue x, ListValue y):
                budget.MakeItems((long)x.Items.Length + y.Items.Length);
                return new ListValue([.. x.Items, .. y.Items]);
            case (TupleValue x, TupleValue y):
                budget.MakeItems((long)x.Items.Length + y.Items.Length);
                return new TupleValue([.. x.Items, .. y.Items]);
            default:
                return null;
        }
    }

    private static Value Repeated(Value value, Value times, Budget budget)
    {
        if (Numbers.ToInteger(times) is var number && (number > long.MaxValue || number < long.MinValue))
            throw new TemplateException("cannot fit 'int' into an index-sized integer");
        int count = Math.Max(0, Numbers.ToInt32(times));
        if (value is StringValue text)
        {
            budget.MakeChars((long)text.Text.Length * count);
            return text.With(text.Text.Length == 0 ? "" : string.Concat(Enumerable.Repeat(text.Text, count)));
        }
        Value[] items = ((SequenceValue)value).Items;
        budget.MakeItems((long)items.Length * count);
        Value[] repeated = new Value[items.Length * count];
        for (int i = 0; i < repeated.Length; i++)
            repeated[i] = items[i % items.Length];
        return value is ListValue ? new ListValue(repeated) : new TupleValue(repeated);
    }

    private static TemplateException Unsupported(string op, Value a, Value b)
    {
        if (op == "+" && a is StringValue or SequenceValue)
            return new TemplateException($"can only concatenate {a.TypeName} (not \"{b.TypeName}\") to {a.TypeName}");
        if (op == "*" && (a is StringValue or SequenceValue || b is StringValue or SequenceValue))
        {
            Value other = a is StringValue or SequenceValue ? b : a;
            return new TemplateException($"can't multiply sequence by non-int of type '{other.TypeName}'");
        }
        string shown = op == "**" ? "** or pow()" : op;
        return new TemplateException($"unsupported operand type(s) for {shown}: '{a.TypeName}' and '{b.TypeName}'");
    }
}
