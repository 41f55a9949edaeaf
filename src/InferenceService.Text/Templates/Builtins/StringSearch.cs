using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>String methods that look for another string. All positions count code points.</summary>
internal static class StringSearch
{
    /// <param name="name"><c>find</c>, <c>rfind</c>, <c>index</c> or <c>rindex</c>.</param>
    public static Value Find(StringValue text, string name, Arguments arguments, Budget budget)
    {
        (StringValue part, int start, int stop) = Window(text, arguments, name, budget);
        int found = -1;
        if (start <= stop)
        {
            int from = text.OffsetOf(start);
            ReadOnlySpan<char> window = text.Text.AsSpan(from, text.OffsetOf(stop) - from);
            int at = name[0] == 'r' ? window.LastIndexOf(part.Text) : window.IndexOf(part.Text);
            found = at < 0 ? -1 : text.IndexOf(from + at);
        }
        return found >= 0 || name is "find" or "rfind" ? new IntValue(found) : throw new TemplateException("substring not found");
    }

    public static Value Count(StringValue text, string name, Arguments arguments, Budget budget)
    {
        (StringValue part, int start, int stop) = Window(text, arguments, name, budget);
        if (start > stop)
            return IntValue.Zero;
        if (part.Text.Length == 0)
            return new IntValue(stop - start + 1);
        int from = text.OffsetOf(start);
        return new IntValue(text.Text.AsSpan(from, text.OffsetOf(stop) - from).Count(part.Text));
    }

    /// <param name="name"><c>startswith</c> or <c>endswith</c>; a tuple asks for any of its items.</param>
    public static Value Has(StringValue text, string name, Arguments arguments, Budget budget)
    {
        Value?[] bound = arguments.Bind(name, 1, "prefix", "start", "end");
        int start = Start(bound[1], text.Length), stop = StringMethods.Position(bound[2], text.Length, text.Length);
        Value[] candidates = bound[0] is TupleValue tuple ? tuple.Items : [bound[0]!];
        budget.MakeItems(candidates.Length);
        foreach (Value candidate in candidates)
        {
            string part = StringMethods.Text(candidate, $"{name} first arg").Text;
            if (start > stop)
                continue;
            int from = text.OffsetOf(start);
            ReadOnlySpan<char> window = text.Text.AsSpan(from, text.OffsetOf(stop) - from);
            if (name == "startswith" ? window.StartsWith(part) : window.EndsWith(part))
                return BoolValue.True;
        }
        return BoolValue.False;
    }

    public static Value Replace(StringValue text, string name, Arguments arguments, Budget budget)
    {
        Value?[] bound = arguments.Bind(name, 2, "old", "new", "count");
        StringValue old = StringMethods.Text(bound[0]!, "replace() argument 1"), replacement = StringMethods.Text(bound[1]!, "replace() argument 2");
        int count = bound[2] is { } given ? Numbers.ToInt32(given) : -1;
        string inserted = text.IsMarkup ? Markup.Escape(replacement, budget) : replacement.Text;
        return text.With(Replace(text, old.Text, inserted, count, budget));
    }

    /// <param name="count">How many times at most; negative for always.</param>
    public static string Replace(StringValue text, string old, string replacement, int count, Budget budget)
    {
        string t = text.Text;
        budget.SpendSearch(t.Length, old.Length);
        if (count == 0)
            return t;
        long times = old.Length == 0 ? text.Length + 1L : t.AsSpan().Count(old);
        if (count > 0)
            times = Math.Min(times, count);
        if (times == 0)
            return t;
        budget.MakeChars(t.Length + times * (replacement.Length - old.Length));
        if (old.Length == 0)
            return Interleave(text, replacement, times);
        if (count < 0)
            return t.Replace(old, replacement, StringComparison.Ordinal);
        StringBuilder output = new();
        int from = 0;
        for (; times > 0; times--)
        {
            int at = t.IndexOf(old, from, StringComparison.Ordinal);
            output.Append(t, from, at - from).Append(replacement);
            from = at + old.Length;
        }
        return output.Append(t, from, t.Length - from).ToString();
    }

    private static string Interleave(StringValue text, string replacement, long times)
    {
        StringBuilder output = new();
        for (int i = 0; i <= text.Length; i++)
        {
            if (i < times)
                output.Append(replacement);
            if (i < text.Length)
                output.Append(text.CharAt(i));
        }
        return output.ToString();
    }

    private static (StringValue Part, int Start, int Stop) Window(StringValue text, Arguments arguments, string method, Budget budget)
    {
        Value?[] bound = arguments.Bind(method, 1, "sub", "start", "end");
        StringValue part = StringMethods.Text(bound[0]!, $"{method}() argument 1");
        budget.SpendSearch(text.Text.Length, part.Text.Length);
        int length = text.Length;
        return (part, Start(bound[1], length), StringMethods.Position(bound[2], length, length));
    }

    /// <summary>A start past the end finds nothing, not even the empty string.</summary>
    private static int Start(Value? value, int length) =>
        value is { } given and not NoneValue && Numbers.ToInt32(given) > length ? int.MaxValue : StringMethods.Position(value, 0, length);
}
