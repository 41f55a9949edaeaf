using System.Buffers;
using System.Globalization;
using System.Text;
using InferenceService.Text.Templates.Formatting;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>Filters that write a value in another notation: JSON, HTML, URLs.</summary>
internal static class OutputFilters
{
    private static readonly SearchValues<char> NotInAttributeNames = SearchValues.Create("/>= \t\n\r\f\v");

    /// <summary>JSON as Hugging Face's <c>tojson</c> writes it: no HTML escaping, everything beyond ASCII kept, keys in order.</summary>
    public static Value ToJson(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys");
        string? indent = IndentOf(bound[1], interpreter.Budget);
        (string items, string keys) = bound[2] is { } given and not NoneValue
            ? SeparatorsOf(given)
            : (indent is null ? ", " : ",", ": ");
        JsonWriting writing = new(bound[0]?.IsTrue ?? false, indent, items, keys, bound[3]?.IsTrue ?? false, interpreter.Budget);
        return new StringValue(writing.Write(input));
    }

    public static Value PrettyPrint(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("pprint", 0);
        return new StringValue(new PrettyText(interpreter.Budget).Write(input));
    }

    public static Value UrlEncode(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("urlencode", 0);
        Budget budget = interpreter.Budget;
        if (input is StringValue || !Iteration.IsIterable(input))
            return new StringValue(Quote(Repr.ToText(input, budget), isQuery: false, budget));
        Value pairs = input is DictValue dict ? new DictViewValue(dict, DictViewKind.Items) : input;
        List<string> parts = [];
        IEnumerator<Value> items = Iteration.Iterate(pairs, budget);
        while (items.MoveNext())
        {
            Value[] pair = Iteration.ToArray(items.Current, budget);
            if (pair.Length != 2)
                throw new TemplateException("urlencode needs pairs of a key and a value");
            parts.Add(Quote(Repr.ToText(pair[0], budget), true, budget) + "=" + Quote(Repr.ToText(pair[1], budget), true, budget));
        }
        return new StringValue(StringSplitting.Join("&", parts, budget));
    }

    public static Value XmlAttributes(Interpreter interpreter, Value input, Arguments arguments)
    {
        Value? space = arguments.Bind("xmlattr", 0, "autospace")[0];
        if (input is not DictValue dict)
            throw input is UndefinedValue undefined ? undefined.Error() : new TemplateException($"'{input.TypeName}' object has no attribute 'items'");
        Budget budget = interpreter.Budget;
        List<string> parts = [];
        foreach ((Value key, Value value) in dict.Entries)
        {
            if (value is NoneValue or UndefinedValue)
                continue;
            string name = StringMethods.Text(key, "an attribute name").Text;
            if (name.AsSpan().ContainsAny(NotInAttributeNames))
                throw new TemplateException($"Invalid character in attribute name: {PythonText.Quote(name)}");
            parts.Add($"{Markup.Escape(name, budget)}=\"{Markup.Escape(TextFilters.Soft(value, budget), budget)}\"");
        }
        string text = StringSplitting.Join(" ", parts, budget);
        return new StringValue(text.Length > 0 && (space?.IsTrue ?? true) ? " " + text : text);
    }

    public static Value FileSize(Interpreter interpreter, Value input, Arguments arguments)
    {
        bool binary = arguments.Bind("filesizeformat", 0, "binary")[0]?.IsTrue ?? false;
        double size = input switch
        {
            UndefinedValue undefined => throw undefined.Error(),
            StringValue text => TextToNumber.ParseFloat(text.Text) ?? throw new TemplateException("filesizeformat needs a number"),
            _ when Numbers.IsNumber(input) => Numbers.ToDouble(input),
            _ => throw new TemplateException($"filesizeformat needs a number, not {input.TypeName}"),
        };
        double unit = binary ? 1024 : 1000;
        if (size == 1)
            return new StringValue("1 Byte");
        if (size < unit)
            return new StringValue(string.Create(CultureInfo.InvariantCulture, $"{TextToNumber.Truncate(size)} Bytes"));
        double scale = unit;
        int prefix = 0;
        for (; prefix < 7 && size >= scale * unit; prefix++)
            scale *= unit;
        char letter = "kMGTPEZY"[prefix];
        string name = binary ? char.ToUpperInvariant(letter) + "iB" : letter + "B";
        string number = double.IsFinite(size) ? FloatText.Fixed(size / scale, 1) : FloatText.NonFinite(size);
        return new StringValue(number + " " + name);
    }

    public static Value Safe(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("safe", 0);
        return new StringValue(Repr.ToText(input, interpreter.Budget), isMarkup: true);
    }

    public static Value Escape(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("escape", 0);
        return new StringValue(Markup.Escape(TextFilters.Soft(input, interpreter.Budget), interpreter.Budget), isMarkup: true);
    }

    public static Value ForceEscape(Interpreter interpreter, Value input, Arguments arguments)
    {
        arguments.Bind("forceescape", 0);
        return new StringValue(Markup.Escape(Repr.ToText(input, interpreter.Budget), interpreter.Budget), isMarkup: true);
    }

    private static string? IndentOf(Value? value, Budget budget)
    {
        if (value is null or NoneValue)
            return null;
        if (value is StringValue text)
            return text.Text;
        int width = Math.Max(0, Numbers.ToInt32(value));
        budget.MakeChars(width);
        return new string(' ', width);
    }

    private static (string Items, string Keys) SeparatorsOf(Value value) => value is SequenceValue { Items: [StringValue items, StringValue keys] }
        ? (items.Text, keys.Text)
        : throw new TemplateException("separators must be a pair of strings");

    private static string Quote(string text, bool isQuery, Budget budget)
    {
        budget.MakeChars(text.Length * 3L);
        StringBuilder output = new();
        foreach (byte b in Encoding.UTF8.GetBytes(text))
        {
            char c = (char)b;
            if (char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-' or '~' || (c == '/' && !isQuery))
                output.Append(c);
            else if (c == ' ' && isQuery)
                output.Append('+');
            else
                output.Append('%').Append(b.ToString("X2", CultureInfo.InvariantCulture));
        }
        return output.ToString();
    }
}
