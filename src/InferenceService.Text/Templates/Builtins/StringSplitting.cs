using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>String methods that take a string apart or put one together.</summary>
internal static class StringSplitting
{
    public static Value Split(StringValue text, string name, Arguments arguments, Budget budget)
    {
        bool fromEnd = name == "rsplit";
        Value?[] bound = arguments.Bind(name, 0, "sep", "maxsplit");
        int limit = bound[1] is { } given ? Numbers.ToInt32(given) : -1;
        if (limit < 0)
            limit = int.MaxValue;
        List<string> parts;
        if (bound[0] is null or NoneValue)
            parts = fromEnd ? WordsFromEnd(text.Text, limit) : Words(text.Text, limit);
        else
        {
            string separator = StringMethods.Text(bound[0]!, "the separator").Text;
            if (separator.Length == 0)
                throw new TemplateException("empty separator");
            budget.SpendSearch(text.Text.Length, separator.Length);
            parts = fromEnd ? PartsFromEnd(text.Text, separator, limit) : Parts(text.Text, separator, limit);
        }
        return ListOf(text, parts, budget);
    }

    public static Value SplitLines(StringValue text, string name, Arguments arguments, Budget budget)
    {
        bool keepEnds = arguments.Bind(name, 0, "keepends")[0]?.IsTrue ?? false;
        return ListOf(text, PythonText.SplitLines(text.Text, keepEnds), budget);
    }

    public static Value Partition(StringValue text, string name, Arguments arguments, Budget budget)
    {
        bool fromEnd = name == "rpartition";
        string separator = StringMethods.Text(arguments.Bind(name, 1, "sep")[0]!, "the separator").Text;
        if (separator.Length == 0)
            throw new TemplateException("empty separator");
        budget.SpendSearch(text.Text.Length, separator.Length);
        string t = text.Text;
        int at = fromEnd ? t.LastIndexOf(separator, StringComparison.Ordinal) : t.IndexOf(separator, StringComparison.Ordinal);
        string[] parts = at >= 0 ? [t[..at], separator, t[(at + separator.Length)..]] : fromEnd ? ["", "", t] : [t, "", ""];
        return new TupleValue([.. parts.Select(text.With)]);
    }

    public static Value Join(StringValue separator, string name, Arguments arguments, Budget budget)
    {
        Value[] items = Iteration.ToArray(arguments.Bind(name, 1, "iterable")[0]!, budget);
        List<string> parts = new(items.Length);
        for (int i = 0; i < items.Length; i++)
        {
            if (separator.IsMarkup)
                parts.Add(items[i] is StringValue part ? Markup.Escape(part, budget) : Markup.Escape(Repr.ToText(items[i], budget), budget));
            else if (items[i] is StringValue text)
                parts.Add(text.Text);
            else
                throw new TemplateException($"sequence item {i}: expected str instance, {items[i].TypeName} found");
        }
        return separator.With(Join(separator.Text, parts, budget));
    }

    public static string Join(string separator, List<string> parts, Budget budget)
    {
        long length = (long)separator.Length * Math.Max(0, parts.Count - 1);
        foreach (string part in parts)
            length += part.Length;
        budget.MakeChars(length);
        budget.MakeItems(parts.Count);
        return string.Join(separator, parts);
    }

    private static ListValue ListOf(StringValue text, List<string> parts, Budget budget)
    {
        budget.MakeItems(parts.Count);
        budget.MakeChars(text.Text.Length);
        return new ListValue([.. parts.Select(text.With)]);
    }

    private static List<string> Parts(string text, string separator, int limit)
    {
        List<string> parts = [];
        int from = 0;
        for (; limit > 0; limit--)
        {
            int at = text.IndexOf(separator, from, StringComparison.Ordinal);
            if (at < 0)
                break;
            parts.Add(text[from..at]);
            from = at + separator.Length;
        }
        parts.Add(text[from..]);
        return parts;
    }

    private static List<string> PartsFromEnd(string text, string separator, int limit)
    {
        List<string> parts = [];
        int end = text.Length;
        for (; limit > 0; limit--)
        {
            int at = text.AsSpan(0, end).LastIndexOf(separator);
            if (at < 0)
                break;
            parts.Add(text[(at + separator.Length)..end]);
            end = at;
        }
        parts.Add(text[..end]);
        parts.Reverse();
        return parts;
    }

    private static List<string> Words(string text, int limit)
    {
        List<string> words = [];
        int at = 0;
        while (true)
        {
            while (at < text.Length && PythonText.IsSpace(text[at]))
                at++;
            if (at == text.Length)
                return words;
            int start = at;
            if (limit-- == 0)
            {
                words.Add(text[start..]);
                return words;
            }
            while (at < text.Length && !PythonText.IsSpace(text[at]))
                at++;
            words.Add(text[start..at]);
        }
    }

    private static List<string> WordsFromEnd(string text, int limit)
    {
        List<string> words = [];
        int at = text.Length;
        while (true)
        {
            while (at > 0 && PythonText.IsSpace(text[at - 1]))
                at--;
            if (at == 0)
                break;
            int end = at;
            if (limit-- == 0)
            {
                words.Add(text[..end]);
                break;
            }
            while (at > 0 && !PythonText.IsSpace(text[at - 1]))
                at--;
            words.Add(text[at..end]);
        }
        words.Reverse();
        return words;
    }
}
