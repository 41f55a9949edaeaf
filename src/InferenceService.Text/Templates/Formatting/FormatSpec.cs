using System.Globalization;
using System.Numerics;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Formatting;

/// <summary>
/// One format specification of <c>str.format</c>: <c>[[fill]align][sign][z][#][0][width][grouping][.precision][type]</c>
/// (Python library reference, "Format Specification Mini-Language").
/// </summary>
internal readonly record struct FormatSpec
{
    public string Fill { get; init; }

    /// <summary>One of <c>&lt; &gt; = ^</c>, or NUL for the type's own.</summary>
    public char Align { get; init; }

    /// <summary>One of <c>+ -</c> and space.</summary>
    public char Sign { get; init; }

    public bool NoNegativeZero { get; init; }

    public bool Alternate { get; init; }

    public int Width { get; init; }

    /// <summary><c>,</c> or <c>_</c> or NUL.</summary>
    public char Grouping { get; init; }

    public int? Precision { get; init; }

    /// <summary>The letter, or NUL.</summary>
    public char Type { get; init; }

    public static FormatSpec Parse(string spec)
    {
        int at = 0;
        char align = '\0', sign = '-', grouping = '\0', type = '\0';
        string fill = "";
        int first = spec.Length > 1 && char.IsHighSurrogate(spec[0]) ? 2 : 1;
        if (spec.Length > first && spec[first] is '<' or '>' or '=' or '^')
        {
            fill = spec[..first];
            align = spec[first];
            at = first + 1;
        }
        else if (spec.Length > 0 && spec[0] is '<' or '>' or '=' or '^')
            align = spec[at++];
        if (at < spec.Length && spec[at] is '+' or '-' or ' ')
            sign = spec[at++];
        bool noNegativeZero = Take(spec, ref at, 'z');
        bool alternate = Take(spec, ref at, '#');
        if (Take(spec, ref at, '0'))
        {
            fill = fill.Length == 0 ? "0" : fill;
            align = align == '\0' ? '=' : align;
        }
        int width = TakeNumber(spec, ref at) ?? 0;
        if (at < spec.Length && spec[at] is ',' or '_')
            grouping = spec[at++];
        int? precision = null;
        if (Take(spec, ref at, '.'))
            precision = TakeNumber(spec, ref at) ?? throw new TemplateException("Format specifier missing precision");
        if (at < spec.Length)
            type = spec[at++];
        if (at < spec.Length)
            throw new TemplateException($"Invalid format specifier {PythonText.Quote(spec)}");
        return new FormatSpec
        {
            Fill = fill.Length == 0 ? " " : fill,
            Align = align,
            Sign = sign,
            NoNegativeZero = noNegativeZero,
            Alternate = alternate,
            Width = width,
            Grouping = grouping,
            Precision = precision,
            Type = type,
        };
    }

    /// <summary>Python's <c>format(value, spec)</c>.</summary>
    public static string Apply(Value value, string spec, Budget budget)
    {
        if (spec.Length == 0)
            return Repr.ToText(value, budget);
        if (value is not StringValue && !Numbers.IsNumber(value))
            throw new TemplateException($"unsupported format string passed to {value.TypeName}.__format__");
        FormatSpec parsed = Parse(spec);
        budget.MakeChars((long)parsed.Width + (parsed.Precision ?? 0));
        return value switch
        {
            StringValue text => parsed.Text(text),
            FloatValue f => parsed.Float(f.Number),
            _ when parsed.Type is 'e' or 'E' or 'f' or 'F' or 'g' or 'G' or '%' => parsed.Float(Numbers.ToDouble(value)),
            _ => parsed.Integer(Numbers.ToInteger(value)),
        };
    }

    private string Text(StringValue text)
    {
        if (Type is not ('\0' or 's'))
            throw UnknownType("str");
        if (Align == '=')
            throw new TemplateException("'=' alignment not allowed in string format specifier");
        string shown = Precision is { } limit && limit < text.Length ? text.Range(0, limit) : text.Text;
        return Pad("", shown, '<');
    }

    private string Integer(BigInteger number)
    {
        if (Precision is not null)
            throw new TemplateException("Precision not allowed in integer format specifier");
        BigInteger size = BigInteger.Abs(number);
        if (Type == 'c')
            return Pad("", CharacterText(number), '<');
        (string prefix, string digits) = Type switch
        {
            '\0' or 'd' or 'n' => ("", size.ToString(CultureInfo.InvariantCulture)),
            'b' => ("0b", NumberText.InBase(size, 2)),
            'o' => ("0o", NumberText.InBase(size, 8)),
            'x' => ("0x", NumberText.InBase(size, 16)),
            'X' => ("0X", NumberText.InBase(size, 16).ToUpperInvariant()),
            _ => throw UnknownType("int"),
        };
        int group = Type is 'b' or 'o' or 'x' or 'X' ? 4 : 3;
        return Number(SignOf(number.Sign < 0) + (Alternate ? prefix : ""), digits, "", group);
    }

    private string Float(double number)
    {
        bool negative = double.IsNegative(number) && !double.IsNaN(number);
        int precision = Precision ?? 6;
        string text;
        if (!double.IsFinite(number))
            text = FloatText.NonFinite(Math.Abs(number)) + (Type == '%' ? "%" : "");
        else
        {
            text = Type switch
            {
                'f' or 'F' => FloatText.Fixed(number, precision) + (Alternate && precision == 0 ? "." : ""),
                'e' or 'E' => FloatText.Exponential(number, precision, Alternate),
                'g' or 'G' or 'n' => FloatText.General(number, precision, Alternate),
                '%' => FloatText.Fixed(number * 100, precision) + "%",
                '\0' when Precision is null => FloatText.Repr(Math.Abs(number)),
                '\0' => NumberText.WithPoint(FloatText.General(number, precision)),
                _ => throw UnknownType("float"),
            };
        }
        if (Type is 'E' or 'F' or 'G')
            text = text.ToUpperInvariant();
        if (NoNegativeZero && negative && text.AsSpan().IndexOfAnyInRange('1', '9') < 0 && double.IsFinite(number))
            negative = false;
        int end = 0;
        while (end < text.Length && char.IsAsciiDigit(text[end]))
            end++;
        return Number(SignOf(negative), text[..end], text[end..], 3);
    }

    /// <summary>Groups the digits before the point, filling with zeros up to the width if asked, and pads.</summary>
    private string Number(string sign, string digits, string rest, int group)
    {
        if (Grouping == '\0' || digits.Length == 0)
            return Pad(sign, digits + rest, '>');
        if (Fill == "0" && Align == '=')
        {
            // Zeros count as digits and are grouped too; a separator never comes first.
            int room = Width - sign.Length - rest.Length;
            int count = Math.Max(digits.Length, (int)((long)room * group / (group + 1))); // never more than it takes
            while (NumberText.GroupedLength(count, group) < room)
                count++;
            return sign + NumberText.Grouped(digits.PadLeft(count, '0'), group, Grouping) + rest;
        }
        return Pad(sign, NumberText.Grouped(digits, group, Grouping) + rest, '>');
    }

    private string SignOf(bool negative) => negative ? "-" : Sign == '-' ? "" : Sign.ToString();

    private string Pad(string sign, string text, char own)
    {
        int missing = Width - sign.Length - new StringValue(text).Length;
        if (missing <= 0)
            return sign + text;
        int left = (Align == '\0' ? own : Align) switch
        {
            '<' => 0,
            '^' => missing / 2,
            _ => missing,
        };
        string before = string.Concat(Enumerable.Repeat(Fill, left)), after = string.Concat(Enumerable.Repeat(Fill, missing - left));
        return Align == '=' ? sign + before + text : before + sign + text + after;
    }

    private static string CharacterText(BigInteger number) =>
        number >= 0 && number <= 0x10FFFF
            ? (number < 0x10000 ? ((char)(int)number).ToString() : char.ConvertFromUtf32((int)number))
            : throw new TemplateException("%c arg not in range(0x110000)");

    private TemplateException UnknownType(string type) =>
        new($"Unknown format code {PythonText.Quote(Type.ToString())} for object of type '{type}'");

    private static bool Take(string spec, ref int at, char letter)
    {
        if (at >= spec.Length || spec[at] != letter)
            return false;
        at++;
        return true;
    }

    private static int? TakeNumber(string spec, ref int at)
    {
        int start = at;
        while (at < spec.Length && char.IsAsciiDigit(spec[at]))
            at++;
        if (at == start)
            return null;
        return int.TryParse(spec.AsSpan(start..at), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? number
            : throw new TemplateException("Too many decimal digits in format string");
    }
}
