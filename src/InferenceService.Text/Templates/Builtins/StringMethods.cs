using System.Collections.Frozen;
using InferenceService.Text.Templates.Formatting;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>A method of a string.</summary>
internal delegate Value StringMethod(StringValue text, Arguments arguments, Budget budget);

/// <summary>The methods of Python's <c>str</c>; the families are in the files of their names.</summary>
internal static class StringMethods
{
    private static readonly FrozenDictionary<string, StringMethod> Table = new Dictionary<string, StringMethod>
    {
        ["upper"] = Case(CaseMapping.Upper),
        ["lower"] = Case(CaseMapping.Lower),
        ["casefold"] = Case(CaseMapping.Fold),
        ["swapcase"] = Case(CaseMapping.Swap),
        ["capitalize"] = Case(CaseMapping.Capitalize),
        ["title"] = Case(CaseMapping.Title),
        ["isalpha"] = Class(CharacterClasses.IsAlpha),
        ["isalnum"] = Class(CharacterClasses.IsAlphanumeric),
        ["isdigit"] = Class(CharacterClasses.IsDigit),
        ["isdecimal"] = Class(CharacterClasses.IsDecimal),
        ["isnumeric"] = Class(CharacterClasses.IsNumeric),
        ["isspace"] = Class(CharacterClasses.IsSpace),
        ["isascii"] = Class(CharacterClasses.IsAscii),
        ["isprintable"] = Class(CharacterClasses.IsPrintable),
        ["isidentifier"] = Class(CharacterClasses.IsIdentifier),
        ["islower"] = Class(CaseMapping.IsLower),
        ["isupper"] = Class(CaseMapping.IsUpper),
        ["istitle"] = Class(CaseMapping.IsTitle),
        ["strip"] = (text, a, b) => StringTrimming.Strip(text, a.Bind("strip", 0, "chars")[0], true, true, b),
        ["lstrip"] = (text, a, b) => StringTrimming.Strip(text, a.Bind("lstrip", 0, "chars")[0], true, false, b),
        ["rstrip"] = (text, a, b) => StringTrimming.Strip(text, a.Bind("rstrip", 0, "chars")[0], false, true, b),
        ["removeprefix"] = StringTrimming.RemovePrefix,
        ["removesuffix"] = StringTrimming.RemoveSuffix,
        ["ljust"] = (text, a, b) => StringTrimming.Pad(text, a, "ljust", b),
        ["rjust"] = (text, a, b) => StringTrimming.Pad(text, a, "rjust", b),
        ["center"] = (text, a, b) => StringTrimming.Pad(text, a, "center", b),
        ["zfill"] = StringTrimming.ZeroFill,
        ["expandtabs"] = StringTrimming.ExpandTabs,
        ["find"] = (text, a, b) => StringSearch.Find(text, a, "find", b),
        ["rfind"] = (text, a, b) => StringSearch.Find(text, a, "rfind", b),
        ["index"] = (text, a, b) => StringSearch.Find(text, a, "index", b),
        ["rindex"] = (text, a, b) => StringSearch.Find(text, a, "rindex", b),
        ["count"] = StringSearch.Count,
        ["startswith"] = (text, a, b) => StringSearch.Has(text, a, "startswith", b),
        ["endswith"] = (text, a, b) => StringSearch.Has(text, a, "endswith", b),
        ["replace"] = StringSearch.Replace,
        ["split"] = (text, a, b) => StringSplitting.Split(text, a, fromEnd: false, b),
        ["rsplit"] = (text, a, b) => StringSplitting.Split(text, a, fromEnd: true, b),
        ["splitlines"] = StringSplitting.SplitLines,
        ["partition"] = (text, a, b) => StringSplitting.Partition(text, a, fromEnd: false, b),
        ["rpartition"] = (text, a, b) => StringSplitting.Partition(text, a, fromEnd: true, b),
        ["join"] = StringSplitting.Join,
        ["format"] = (text, a, b) => new StringFormat(a, text.IsMarkup, b).Apply(text),
        ["format_map"] = FormatMap,
    }.ToFrozenDictionary();

    /// <summary>The method bound to its string, or null.</summary>
    public static FunctionValue? Find(StringValue text, string name) => Table.TryGetValue(name, out StringMethod? method)
        ? new FunctionValue(name, (interpreter, arguments) =>
        {
            interpreter.Budget.SpendChars(text.Text.Length);
            return method(text, arguments, interpreter.Budget);
        })
        : null;

    /// <summary>An argument that must be a string.</summary>
    public static StringValue Text(Value value, string function) => value switch
    {
        StringValue text => text,
        UndefinedValue undefined => throw undefined.Error(),
        _ => throw new TemplateException($"{function} must be str, not {value.TypeName}"),
    };

    /// <summary>An optional start or end, counted from the end if negative, and kept within the length.</summary>
    public static int Position(Value? value, int unset, int length)
    {
        if (value is null or NoneValue)
            return unset;
        int position = Numbers.ToInt32(value);
        return Math.Clamp(position < 0 ? position + length : position, 0, length);
    }

    private static StringMethod Case(Func<string, string> map) => (text, arguments, budget) =>
    {
        arguments.Bind("case method", 0);
        budget.MakeChars(text.Text.Length);
        return text.With(map(text.Text));
    };

    private static StringMethod Class(Func<string, bool> test) => (text, arguments, _) =>
    {
        arguments.Bind("class method", 0);
        return BoolValue.From(test(text.Text));
    };

    private static StringValue FormatMap(StringValue text, Arguments arguments, Budget budget)
    {
        if (arguments.Bind("format_map", 1, "mapping")[0] is not DictValue dict)
            throw new TemplateException("format_map() argument must be a dict");
        KeyValuePair<string, Value>[] named =
            [.. dict.Entries.Where(e => e.Key is StringValue).Select(e => KeyValuePair.Create(((StringValue)e.Key).Text, e.Value))];
        return new StringFormat(new Arguments([], named), text.IsMarkup, budget).Apply(text);
    }
}
