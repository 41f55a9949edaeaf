using System.Numerics;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>Filters that make a number.</summary>
internal static class NumberFilters
{
    public static Value Int(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("int", 0, "default", "base");
        Value fallback = bound[0] ?? IntValue.Zero;
        switch (input)
        {
            case UndefinedValue undefined:
                throw undefined.Error();
            case FloatValue f:
                return double.IsNaN(f.Number) ? fallback : new IntValue(TextToNumber.Truncate(f.Number));
            case IntValue or BoolValue:
                return new IntValue(Numbers.ToInteger(input));
            case StringValue text:
                int radix = bound[1] is { } given ? Numbers.ToInt32(given) : 10;
                if (radix is 1 or < 0 or > 36)
                    return fallback;
                if (TextToNumber.ParseInteger(text.Text, radix) is { } number)
                    return new IntValue(number);
                return TextToNumber.ParseFloat(text.Text) is { } real && double.IsFinite(real) ? new IntValue(new BigInteger(real)) : fallback;
            default:
                return fallback;
        }
    }

    public static Value Float(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value fallback = arguments.Bind("float", 0, "default")[0] ?? new FloatValue(0);
        return input switch
        {
            UndefinedValue undefined => throw undefined.Error(),
            StringValue text => TextToNumber.ParseFloat(text.Text) is { } number ? new FloatValue(number) : fallback,
            _ when Numbers.IsNumber(input) => new FloatValue(Numbers.ToDouble(input)),
            _ => fallback,
        };
    }

    public static Value Abs(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("abs", 0);
        return input switch
        {
            FloatValue f => new FloatValue(Math.Abs(f.Number)),
            _ when Numbers.IsInteger(input) => new IntValue(BigInteger.Abs(Numbers.ToInteger(input))),
            _ => throw new TemplateException($"bad operand type for abs(): '{input.TypeName}'"),
        };
    }

    public static Value Round(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("round", 0, "precision", "method");
        int precision = bound[0] is { } given ? Numbers.ToInt32(given) : 0;
        string method = bound[1] is null ? "common" : StringMethods.Text(bound[1]!, "the rounding method").Text;
        if (method is not ("common" or "ceil" or "floor"))
            throw new TemplateException("method must be common, ceil or floor");
        if (!Numbers.IsNumber(input))
            throw new TemplateException($"type {input.TypeName} doesn't define __round__ method");
        if (method == "common")
            return input is FloatValue f ? new FloatValue(FloatText.Round(f.Number, precision)) : RoundInteger(Numbers.ToInteger(input), precision);
        if (Math.Abs((long)precision) > 308)
            throw new TemplateException($"round precision {precision} is out of range -308 to 308");
        double scale = Math.Pow(10, precision), scaled = Numbers.ToDouble(input) * scale;
        if (!double.IsFinite(scaled))
            throw new TemplateException("cannot round this number to this precision");
        return new FloatValue((method == "ceil" ? Math.Ceiling(scaled) : Math.Floor(scaled)) / scale);
    }

    public static Value Sum(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("sum", 0, "attribute", "start");
        AttributePath? path = bound[0] is { } attribute and not NoneValue ? new AttributePath(attribute) : null;
        Value sum = bound[1] ?? IntValue.Zero;
        if (sum is StringValue)
            throw new TemplateException("sum() can't sum strings [use ''.join(seq) instead]");
        IEnumerator<Value> items = Iteration.Iterate(input, interpreter.Budget);
        while (items.MoveNext())
        {
            Value item = path is null ? items.Current : path.Read(items.Current, interpreter.Budget);
            sum = Arithmetic.Binary("+", sum, item, interpreter.Budget);
        }
        return sum;
    }

    /// <summary>To a power of ten, halves to even; digits after the point do not change an integer.</summary>
    private static IntValue RoundInteger(BigInteger number, int precision)
    {
        if (precision >= 0)
            return new IntValue(number);
        if (precision < -IntValue.MaxBits)
            return IntValue.Zero;
        BigInteger unit = BigInteger.Pow(10, -precision);
        BigInteger down = Arithmetic.FloorDivide(number, unit);
        int half = ((number - down * unit) * 2).CompareTo(unit);
        return new IntValue((half > 0 || (half == 0 && !down.IsEven) ? down + 1 : down) * unit);
    }
}
