using System.Globalization;
using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Formatting;

/// <summary>Python's <c>str.format</c> and <c>str.format_map</c>, in the sandbox: fields reach attributes by the template's own rules.</summary>
internal sealed class StringFormat(Arguments arguments, bool escape, Budget budget)
{
    private int? _next = 0;

    public StringValue Apply(StringValue format) => format.With(Expand(format.Text, 2));

    private string Expand(string format, int depth)
    {
        if (depth < 0)
            throw new TemplateException("Max string recursion exceeded");
        StringBuilder output = new();
        for (int i = 0; i < format.Length; i++)
        {
            char c = format[i];
            if (c is not ('{' or '}'))
            {
                output.Append(c);
            }
            else if (i + 1 < format.Length && format[i + 1] == c)
            {
                output.Append(c);
                i++;
            }
            else if (c == '}')
            {
                throw new TemplateException("Single '}' encountered in format string");
            }
            else
            {
                int end = FieldEnd(format, i + 1);
                string text = Field(format[(i + 1)..end], depth);
                budget.CheckChars((long)output.Length + text.Length);
                output.Append(text);
                i = end;
            }
        }
        budget.MakeChars(output.Length);
        return output.ToString();
    }

    private static int FieldEnd(string format, int start)
    {
        int depth = 1;
        for (int i = start; i < format.Length; i++)
        {
            if (format[i] == '{')
                depth++;
            else if (format[i] == '}' && --depth == 0)
                return i;
        }
        throw new TemplateException(start == format.Length ? "Single '{' encountered in format string" : "expected '}' before end of string");
    }

    private string Field(string field, int depth)
    {
        int colon = NameEnd(field);
        string name = field[..colon], spec = "";
        char conversion = '\0';
        if (colon < field.Length && field[colon] == '!')
        {
            if (colon + 1 >= field.Length || (colon + 2 < field.Length && field[colon + 2] != ':'))
                throw new TemplateException("expected ':' after conversion specifier");
            conversion = field[colon + 1];
            colon += 2;
        }
        if (colon < field.Length)
            spec = Expand(field[(colon + 1)..], depth - 1);
        Value value = Resolve(name);
        value = conversion switch
        {
            '\0' => value,
            's' => new StringValue(Repr.ToText(value, budget)),
            'r' => new StringValue(Repr.Of(value, budget)),
            'a' => new StringValue(PythonText.ToAscii(Repr.Of(value, budget))),
            _ => throw new TemplateException($"Unknown conversion specifier {PythonText.Quote(conversion.ToString())}"),
        };
        string text = FormatSpec.Apply(value, spec, budget);
        return escape && value is not StringValue { IsMarkup: true } ? Markup.Escape(text, budget) : text;
    }

    /// <summary>Where the field's name ends: at a <c>!</c> or <c>:</c> outside brackets.</summary>
    private static int NameEnd(string field)
    {
        bool inside = false;
        for (int i = 0; i < field.Length; i++)
        {
            if (field[i] == '[')
                inside = true;
            else if (field[i] == ']')
                inside = false;
            else if (!inside && field[i] is '!' or ':')
                return i;
        }
        return field.Length;
    }

    private Value Resolve(string name)
    {
        int end = name.AsSpan().IndexOfAny('.', '[');
        Value value = First(end < 0 ? name : name[..end]);
        for (int at = end < 0 ? name.Length : end; at < name.Length;)
        {
            bool item = name[at] == '[';
            int stop = item ? name.IndexOf(']', at) : at + 1;
            if (item && stop < 0)
                throw new TemplateException("Missing ']' in format string");
            if (!item)
            {
                while (stop < name.Length && name[stop] is not ('.' or '['))
                    stop++;
            }
            string part = name[(at + 1)..stop];
            if (part.Length == 0)
                throw new TemplateException("Empty attribute in format string");
            value = item && long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out long index)
                ? Access.Item(value, new IntValue(index), budget)
                : item ? Access.Item(value, new StringValue(part), budget) : Access.Attribute(value, new StringValue(part), budget);
            at = item ? stop + 1 : stop;
        }
        return value;
    }

    private Value First(string name)
    {
        if (name.Length > 0 && !name.All(char.IsAsciiDigit))
            return arguments.Find(name) ?? throw new TemplateException($"format() has no argument {PythonText.Quote(name)}");
        int index;
        if (name.Length == 0)
        {
            index = _next ?? throw new TemplateException("cannot switch from manual field specification to automatic field numbering");
            _next = index + 1;
        }
        else
        {
            if (_next > 0)
                throw new TemplateException("cannot switch from automatic field numbering to manual field specification");
            _next = null;
            index = int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : int.MaxValue;
        }
        return index < arguments.Positional.Length
            ? arguments.Positional[index]
            : throw new TemplateException($"Replacement index {index} out of range for positional args tuple");
    }
}
