using System.Text;
using InferenceService.Text.Templates.Formatting;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>Filters that make a string of a string. Other values are first turned into what printing them shows.</summary>
internal static class TextFilters
{
    /// <summary>The filter that does what the string method of that name does.</summary>
    public static Filter Method(string name) => (interpreter, input, arguments) =>
        interpreter.Call(StringMethods.Find(Soft(input, interpreter.Budget), name)!, arguments);

    /// <summary>A string stays what it is, markup or not; anything else becomes its text.</summary>
    public static StringValue Soft(Value value, Budget budget) =>
        value as StringValue ?? new StringValue(Repr.ToText(value, budget));

    public static Value String(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("string", 0);
        return Soft(input, interpreter.Budget);
    }

    public static Value Trim(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value? chars = arguments.Bind("trim", 0, "chars")[0];
        return StringTrimming.Strip(Soft(input, interpreter.Budget), chars, true, true, interpreter.Budget);
    }

    public static Value Title(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("title", 0);
        StringValue text = Soft(input, interpreter.Budget);
        interpreter.Budget.MakeChars(text.Text.Length);
        StringBuilder output = new();
        string t = text.Text;
        for (int start = 0; start < t.Length;)
        {
            bool isBreak = IsWordBreak(t[start]);
            int end = start;
            while (end < t.Length && IsWordBreak(t[end]) == isBreak)
                end++;
            int first = char.IsHighSurrogate(t[start]) && start + 1 < end ? 2 : 1;
            output.Append(CaseMapping.Upper(t.Substring(start, first))).Append(CaseMapping.Lower(t[(start + first)..end]));
            start = end;
        }
        return new StringValue(output.ToString());

        static bool IsWordBreak(char c) => c is '-' or '(' or '{' or '[' or '<' || PythonText.IsSpace(c);
    }

    public static Value Replace(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("replace", 2, "old", "new", "count");
        Budget budget = interpreter.Budget;
        int count = bound[2] is { } given and not NoneValue ? Numbers.ToInt32(given) : -1;
        StringValue text = new(Repr.ToText(input, budget));
        return new StringValue(StringSearch.Replace(text, Repr.ToText(bound[0]!, budget), Repr.ToText(bound[1]!, budget), count, budget));
    }

    public static Value Format(Interpreter interpreter, Value input, Arguments arguments)
    {
        if (arguments.Positional.Length > 0 && arguments.Named.Length > 0)
            throw new TemplateException("can't handle positional and keyword arguments at the same time");
        Value values = arguments.Named.Length > 0 ? Value.Dict(arguments.Named) : new TupleValue(arguments.Positional);
        return PercentFormat.Apply(Soft(input, interpreter.Budget), values, interpreter.Budget);
    }

    public static Value Indent(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("indent", 0, "width", "first", "blank");
        Budget budget = interpreter.Budget;
        if (input is not StringValue text)
            throw input is UndefinedValue undefined ? undefined.Error() : new TemplateException($"indent needs a string, not {input.TypeName}");
        string by;
        if (bound[0] is StringValue given)
            by = given.Text;
        else
        {
            int width = Math.Max(0, bound[0] is { } number ? Numbers.ToInt32(number) : 4);
            budget.MakeChars(width);
            by = new string(' ', width);
        }
        bool first = bound[1]?.IsTrue ?? false, blank = bound[2]?.IsTrue ?? false;
        List<string> lines = PythonText.SplitLines(text.Text + "\n", keepEnds: false);
        budget.MakeChars(text.Text.Length + (long)by.Length * lines.Count);
        StringBuilder output = new();
        for (int i = 0; i < lines.Count; i++)
        {
            if (i > 0)
                output.Append('\n');
            if (i == 0 ? first : blank || lines[i].Length > 0)
                output.Append(by);
            output.Append(lines[i]);
        }
        return text.With(output.ToString());
    }

    public static Value Center(Interpreter interpreter, Value input, Arguments arguments)
    {
        int width = arguments.Bind("center", 0, "width")[0] is { } given ? Numbers.ToInt32(given) : 80;
        return StringTrimming.Pad(Soft(input, interpreter.Budget), width, " ", "center", interpreter.Budget);
    }

    public static Value Truncate(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("truncate", 0, "length", "killwords", "end", "leeway");
        int length = bound[0] is { } given ? Numbers.ToInt32(given) : 255;
        StringValue end = bound[2] is { } mark ? StringMethods.Text(mark, "truncate end") : new StringValue("...");
        int leeway = bound[3] is { } slack and not NoneValue ? Numbers.ToInt32(slack) : 5;
        if (length < end.Length)
            throw new TemplateException($"expected length >= {end.Length}, got {length}");
        if (leeway < 0)
            throw new TemplateException($"expected leeway >= 0, got {leeway}");
        if (Iteration.LengthOf(input) <= (long)length + leeway)
            return input;
        StringValue text = StringMethods.Text(input, "truncate input");
        string kept = text.Range(0, length - end.Length);
        int lastSpace = kept.LastIndexOf(' ');
        if (!(bound[1]?.IsTrue ?? false) && lastSpace >= 0)
            kept = kept[..lastSpace];
        return text.With(kept + end.Text);
    }

    public static Value WordCount(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("wordcount", 0);
        int words = 0;
        bool inside = false;
        string text = Soft(input, interpreter.Budget).Text;
        interpreter.Budget.SpendChars(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool isWord = rune.Value == '_' || CharacterClasses.IsWordCharacter(rune);
            if (isWord && !inside)
                words++;
            inside = isWord;
        }
        return new IntValue(words);
    }

    public static Value Join(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("join", 0, "d", "attribute");
        Budget budget = interpreter.Budget;
        AttributePath? path = bound[1] is { } attribute and not NoneValue ? new AttributePath(attribute) : null;
        List<string> parts = [];
        long length = 0;
        IEnumerator<Value> items = Iteration.Iterate(input, budget);
        while (items.MoveNext())
        {
            string part = Repr.ToText(path is null ? items.Current : path.Read(items.Current, budget), budget);
            budget.CheckChars(length += part.Length);
            parts.Add(part);
        }
        return new StringValue(StringSplitting.Join(bound[0] is null ? "" : Repr.ToText(bound[0]!, budget), parts, budget));
    }
}
