using System.Globalization;
using System.Numerics;
using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Formatting;

/// <summary>Python's <c>format % values</c> (library reference, "printf-style String Formatting").</summary>
internal sealed class PercentFormat
{
    private readonly string _format;
    private readonly Value _values;
    private readonly Value[] _items;
    private readonly Budget _budget;
    private readonly bool _escape;
    private int _at;
    private int _used;

    private PercentFormat(StringValue format, Value values, Budget budget)
    {
        _format = format.Text;
        _escape = format.IsMarkup;
        _values = values;
        _items = values is TupleValue tuple ? tuple.Items : [values];
        _budget = budget;
    }

    public static StringValue Apply(StringValue format, Value values, Budget budget) =>
        format.With(new PercentFormat(format, values, budget).Run());

    private string Run()
    {
        StringBuilder output = new();
        bool named = false;
        while (_at < _format.Length)
        {
            char c = _format[_at++];
            if (c != '%')
            {
                output.Append(c);
                continue;
            }
            string text = Convert(ref named);
            _budget.CheckChars((long)output.Length + text.Length);
            output.Append(text);
        }
        if (!named && _used < _items.Length && _values is TupleValue or StringValue or IntValue or FloatValue or BoolValue or NoneValue)
            throw new TemplateException("not all arguments converted during string formatting");
        _budget.MakeChars(output.Length);
        return output.ToString();
    }

    private string Convert(ref bool named)
    {
        Value? value = null;
        if (Peek() == '(')
        {
            named = true;
            value = Named();
        }
        bool left = false, plus = false, space = false, zero = false, alternate = false;
        for (; Peek() is '-' or '+' or ' ' or '0' or '#'; _at++)
        {
            left |= Peek() == '-';
            plus |= Peek() == '+';
            space |= Peek() == ' ';
            zero |= Peek() == '0';
            alternate |= Peek() == '#';
        }
        int width = Number() ?? 0;
        if (width < 0)
        {
            left = true;
            width = -width;
        }
        int? precision = null;
        if (Peek() == '.')
        {
            _at++;
            precision = Math.Max(0, Number() ?? 0);
        }
        while (Peek() is 'h' or 'l' or 'L')
            _at++;
        char type = Peek();
        if (type == '\0')
            throw new TemplateException("incomplete format");
        _at++;
        if (type == '%')
            return "%";
        value ??= Next();
        _budget.MakeChars((long)width + (precision ?? 0));
        (string sign, string text) = One(type, value, precision, alternate);
        if (type is not ('s' or 'r' or 'a' or 'c') && sign is "" or "0x" or "0X" or "0o")
            sign = (plus ? "+" : space ? " " : "") + sign;
        int missing = width - sign.Length - new StringValue(text).Length;
        if (missing <= 0)
            return sign + text;
        if (left)
            return sign + text + new string(' ', missing);
        return zero && type is not ('s' or 'r' or 'a' or 'c')
            ? sign + new string('0', missing) + text
            : new string(' ', missing) + sign + text;
    }

    /// <summary>Sign (with the prefix of a base) and the rest of one converted value.</summary>
    private (string Sign, string Text) One(char type, Value value, int? precision, bool alternate)
    {
        switch (type)
        {
            case 's' or 'r' or 'a':
                string shown = type == 's' ? Repr.ToText(value, _budget) : Repr.Of(value, _budget);
                if (type == 'a')
                    shown = PythonText.ToAscii(shown);
                if (_escape && value is not StringValue { IsMarkup: true })
                    shown = Markup.Escape(shown, _budget);
                StringValue text = new(shown);
                return ("", precision is { } limit && limit < text.Length ? text.Range(0, limit) : shown);
            case 'c' when value is StringValue { Length: 1 } letter:
                return ("", letter.Text);
            case 'c' when Numbers.IsInteger(value) && Numbers.ToInteger(value) is var code && code >= 0 && code <= 0x10FFFF:
                return ("", code < 0x10000 ? ((char)(int)code).ToString() : char.ConvertFromUtf32((int)code));
            case 'c':
                throw new TemplateException("%c requires int or char");
            case 'd' or 'i' or 'u' or 'x' or 'X' or 'o':
                return Integer(type, value, precision, alternate);
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G':
                return Float(type, value, precision ?? 6, alternate);
            default:
                throw new TemplateException($"unsupported format character {PythonText.Quote(type.ToString())}");
        }
    }

    private static (string Sign, string Text) Integer(char type, Value value, int? precision, bool alternate)
    {
        if (value is UndefinedValue undefined)
            throw undefined.Error();
        if (!Numbers.IsNumber(value) || (value is FloatValue && type is 'x' or 'X' or 'o'))
            throw new TemplateException($"%{type} format: {(type is 'x' or 'X' or 'o' ? "an integer" : "a real number")} is required, not {value.TypeName}");
        BigInteger number = value is FloatValue f ? TextToNumber.Truncate(f.Number) : Numbers.ToInteger(value);
        string digits = type switch
        {
            'x' => NumberText.InBase(BigInteger.Abs(number), 16),
            'X' => NumberText.InBase(BigInteger.Abs(number), 16).ToUpperInvariant(),
            'o' => NumberText.InBase(BigInteger.Abs(number), 8),
            _ => BigInteger.Abs(number).ToString(CultureInfo.InvariantCulture),
        };
        string prefix = alternate ? type switch { 'x' => "0x", 'X' => "0X", 'o' => "0o", _ => "" } : "";
        return ((number.Sign < 0 ? "-" : "") + prefix, digits.PadLeft(precision ?? 0, '0'));
    }

    private static (string Sign, string Text) Float(char type, Value value, int precision, bool alternate)
    {
        if (value is UndefinedValue undefined)
            throw undefined.Error();
        if (!Numbers.IsNumber(value))
            throw new TemplateException($"must be real number, not {value.TypeName}");
        double number = Numbers.ToDouble(value);
        string text = !double.IsFinite(number) ? FloatText.NonFinite(Math.Abs(number)) : type switch
        {
            'f' or 'F' => FloatText.Fixed(number, precision) + (alternate && precision == 0 ? "." : ""),
            'e' or 'E' => FloatText.Exponential(number, precision, alternate),
            _ => FloatText.General(number, precision, alternate),
        };
        if (char.IsAsciiLetterUpper(type))
            text = text.ToUpperInvariant();
        return (double.IsNegative(number) && !double.IsNaN(number) ? "-" : "", text);
    }

    private Value Named()
    {
        int depth = 0, start = _at + 1;
        for (; _at < _format.Length; _at++)
        {
            if (_format[_at] == '(')
                depth++;
            else if (_format[_at] == ')' && --depth == 0)
                break;
        }
        if (_at >= _format.Length)
            throw new TemplateException("incomplete format key");
        string key = _format[start.._at++];
        if (_values is not DictValue dict)
            throw new TemplateException("format requires a mapping");
        return dict.Find(new StringValue(key), _budget) ?? throw new TemplateException($"format has no value for {PythonText.Quote(key)}");
    }

    private int? Number()
    {
        if (Peek() == '*')
        {
            _at++;
            Value star = Next();
            return Numbers.IsInteger(star)
                ? Math.Max(-int.MaxValue, Numbers.ToInt32(star))
                : throw new TemplateException("* wants int");
        }
        int start = _at;
        while (char.IsAsciiDigit(Peek()))
            _at++;
        if (start == _at)
            return null;
        return int.TryParse(_format.AsSpan(start.._at), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? number
            : throw new TemplateException("width too big");
    }

    private Value Next() => _used < _items.Length
        ? _items[_used++]
        : throw new TemplateException("not enough arguments for format string");

    private char Peek() => _at < _format.Length ? _format[_at] : '\0';
}
