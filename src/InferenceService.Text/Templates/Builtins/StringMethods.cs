using System.Collections.Frozen;
using InferenceService.Text.Templates.Formatting;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>A method of a string, which several names may share.</summary>
internal delegate Value StringMethod(StringValue text, string name, Arguments arguments, Budget budget);

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
        ["strip"] = StringTrimming.Strip,
        ["lstrip"] = StringTrimming.Strip,
        ["rstrip"] = StringTrimming.Strip,
        ["removeprefix"] = StringTrimming.RemovePrefix,
        ["removesuffix"] = StringTrimming.RemoveSuffix,
        ["ljust"] = StringTrimming.Pad,
        ["rjust"] = StringTrimming.Pad,
        ["center"] = StringTrimming.Pad,
        ["zfill"] = StringTrimming.ZeroFill,
        ["expandtabs"] = StringTrimming.ExpandTabs,
        ["find"] = StringSearch.Find,
        ["rfind"] = StringSearch.Find,
        ["index"] = StringSearch.Find,
        ["rindex"] = StringSearch.Find,
        ["count"] = StringSearch.Count,
        ["startswith"] = StringSearch.Has,
        ["endswith"] = StringSearch.Has,
        ["replace"] = StringSearch.Replace,
        ["split"] = StringSplitting.Split,
        ["rsplit"] = StringSplitting.Split,
        ["splitlines"] = StringSplitting.SplitLines,
        ["partition"] = StringSplitting.Partition,
        ["rpartition"] = StringSplitting.Partition,
        ["join"] = StringSplitting.Join,
        ["format"] = (text, _, a, b) => new StringFormat(a, text.IsMarkup, b).Apply(text),
        ["format_map"] = FormatMap,
    }.ToFrozenDictionary();

    /// <summary>The method bound to its string, or null.</summary>
    public static FunctionValue? Find(StringValue text, string name) => Table.TryGetValue(name, out StringMethod? method)
        ? new FunctionValue(name, (interpreter, arguments) =>
        {
            interpreter.Budget.SpendChars(text.Text.Length);
            return method(text, name, arguments, interpreter.Budget);
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

    private static StringMethod Case(Func<string, string> map) => (text, name, arguments, budget) =>
    {
        arguments.Bind(name, 0);
        budget.MakeChars(text.Text.Length);
        return text.With(map(text.Text));
    };

    private static StringMethod Class(Func<string, bool> test) => (text, name, arguments, _) =>
    {
        arguments.Bind(name, 0);
        return BoolValue.From(test(text.Text));
    };

    private static StringValue FormatMap(StringValue text, string name, Arguments arguments, Budget budget)
    {
        if (arguments.Bind(name, 1, "mapping")[0] is not DictValue dict)
            throw new TemplateException("format_map() argument must be a dict");
        KeyValuePair<string, Value>[] named =
            [.. dict.Entries.Where(e => e.Key is StringValue).Select(e => KeyValuePair.Create(((StringValue)e.Key).Text, e.Value))];
        return new StringFormat(new Arguments([], named), text.IsMarkup, budget).Apply(text);
    }
}
