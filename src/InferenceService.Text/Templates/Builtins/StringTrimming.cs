using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>String methods that take away from or add to the ends.</summary>
internal static class StringTrimming
{
    public static Value Strip(StringValue text, string name, Arguments arguments, Budget budget) =>
        Strip(text, arguments.Bind(name, 0, "chars")[0], name[0] != 'r', name[0] != 'l', budget);

    /// <param name="chars">A string of the characters to take away, or null or none for white space.</param>
    public static StringValue Strip(StringValue text, Value? chars, bool start, bool end, Budget budget)
    {
        if (chars is not (null or NoneValue or StringValue))
            throw new TemplateException($"strip arg must be None or str, not {chars.TypeName}");
        string t = text.Text;
        int from = 0, to = t.Length;
        if (chars is StringValue set)
        {
            // By code points: half of a pair must not be taken from another.
            HashSet<string> members = [.. Enumerable.Range(0, set.Length).Select(set.CharAt)];
            budget.MakeItems(set.Length);
            int first = 0, last = text.Length;
            while (start && first < last && members.Contains(text.CharAt(first)))
                first++;
            while (end && last > first && members.Contains(text.CharAt(last - 1)))
                last--;
            budget.Spend(first + text.Length - last);
            (from, to) = (text.OffsetOf(first), text.OffsetOf(last));
        }
        else
        {
            while (start && from < to && PythonText.IsSpace(t[from]))
                from++;
            while (end && to > from && PythonText.IsSpace(t[to - 1]))
                to--;
        }
        budget.MakeChars(to - from);
        return from == 0 && to == t.Length ? text : text.With(t[from..to]);
    }

    public static Value RemovePrefix(StringValue text, string name, Arguments arguments, Budget budget)
    {
        string prefix = StringMethods.Text(arguments.Bind(name, 1, "prefix")[0]!, "removeprefix() argument").Text;
        return text.Text.StartsWith(prefix, StringComparison.Ordinal) ? text.With(text.Text[prefix.Length..]) : text;
    }

    public static Value RemoveSuffix(StringValue text, string name, Arguments arguments, Budget budget)
    {
        string suffix = StringMethods.Text(arguments.Bind(name, 1, "suffix")[0]!, "removesuffix() argument").Text;
        return text.Text.EndsWith(suffix, StringComparison.Ordinal) ? text.With(text.Text[..^suffix.Length]) : text;
    }

    public static Value Pad(StringValue text, string name, Arguments arguments, Budget budget)
    {
        Value?[] bound = arguments.Bind(name, 1, "width", "fillchar");
        int width = Numbers.ToInt32(bound[0]!);
        StringValue fill = bound[1] is null ? new StringValue(" ") : StringMethods.Text(bound[1]!, "the fill character");
        if (fill.Length != 1)
            throw new TemplateException("The fill character must be exactly one character long");
        return Pad(text, width, fill.Text, name, budget);
    }

    public static StringValue Pad(StringValue text, int width, string fill, string method, Budget budget)
    {
        int missing = width - text.Length;
        if (missing <= 0)
            return text;
        budget.MakeChars((long)missing * fill.Length + text.Text.Length);
        int left = method switch
        {
            "ljust" => 0,
            "rjust" => missing,
            _ => missing / 2 + (missing & width & 1),
        };
        StringBuilder padded = new();
        Repeat(padded, fill, left);
        padded.Append(text.Text);
        Repeat(padded, fill, missing - left);
        return text.With(padded.ToString());
    }

    public static Value ZeroFill(StringValue text, string name, Arguments arguments, Budget budget)
    {
        int missing = Numbers.ToInt32(arguments.Bind(name, 1, "width")[0]!) - text.Length;
        if (missing <= 0)
            return text;
        budget.MakeChars((long)missing + text.Text.Length);
        int sign = text.Text.Length > 0 && text.Text[0] is '+' or '-' ? 1 : 0;
        return text.With(text.Text[..sign] + new string('0', missing) + text.Text[sign..]);
    }

    public static Value ExpandTabs(StringValue text, string name, Arguments arguments, Budget budget)
    {
        int size = arguments.Bind(name, 0, "tabsize")[0] is { } given ? Numbers.ToInt32(given) : 8;
        StringBuilder expanded = new();
        int column = 0;
        foreach (char c in text.Text)
        {
            if (c == '\t')
            {
                int spaces = size > 0 ? size - column % size : 0;
                budget.MakeChars((long)expanded.Length + spaces);
                expanded.Append(' ', spaces);
                column += spaces;
                continue;
            }
            expanded.Append(c);
            column = c is '\n' or '\r' ? 0 : char.IsLowSurrogate(c) ? column : column + 1;
        }
        return text.With(expanded.ToString());
    }

    private static void Repeat(StringBuilder output, string fill, int times)
    {
        if (fill.Length == 1)
            output.Append(fill[0], times);
        else
            output.Insert(output.Length, fill, times);
    }
}
