using System.Globalization;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

/// <summary>What stands between the braces of \p{...} and between the colons of [:...:].</summary>
internal static class PropertyNames
{
    private static readonly Dictionary<string, UnicodeCategory[]> CategoryNames = new(StringComparer.Ordinal)
    {
        ["lu"] = [UnicodeCategory.UppercaseLetter],
        ["ll"] = [UnicodeCategory.LowercaseLetter],
        ["lt"] = [UnicodeCategory.TitlecaseLetter],
        ["lm"] = [UnicodeCategory.ModifierLetter],
        ["lo"] = [UnicodeCategory.OtherLetter],
        ["mn"] = [UnicodeCategory.NonSpacingMark],
        ["mc"] = [UnicodeCategory.SpacingCombiningMark],
        ["me"] = [UnicodeCategory.EnclosingMark],
        ["nd"] = [UnicodeCategory.DecimalDigitNumber],
        ["nl"] = [UnicodeCategory.LetterNumber],
        ["no"] = [UnicodeCategory.OtherNumber],
        ["pc"] = [UnicodeCategory.ConnectorPunctuation],
        ["pd"] = [UnicodeCategory.DashPunctuation],
        ["ps"] = [UnicodeCategory.OpenPunctuation],
        ["pe"] = [UnicodeCategory.ClosePunctuation],
        ["pi"] = [UnicodeCategory.InitialQuotePunctuation],
        ["pf"] = [UnicodeCategory.FinalQuotePunctuation],
        ["po"] = [UnicodeCategory.OtherPunctuation],
        ["sm"] = [UnicodeCategory.MathSymbol],
        ["sc"] = [UnicodeCategory.CurrencySymbol],
        ["sk"] = [UnicodeCategory.ModifierSymbol],
        ["so"] = [UnicodeCategory.OtherSymbol],
        ["zs"] = [UnicodeCategory.SpaceSeparator],
        ["zl"] = [UnicodeCategory.LineSeparator],
        ["zp"] = [UnicodeCategory.ParagraphSeparator],
        ["cc"] = [UnicodeCategory.Control],
        ["cf"] = [UnicodeCategory.Format],
        ["cs"] = [UnicodeCategory.Surrogate],
        ["co"] = [UnicodeCategory.PrivateUse],
        ["cn"] = [UnicodeCategory.OtherNotAssigned],
    };

    private static readonly Dictionary<string, string> LongNames = new(StringComparer.Ordinal)
    {
        ["letter"] = "l",
        ["uppercaseletter"] = "lu",
        ["lowercaseletter"] = "ll",
        ["titlecaseletter"] = "lt",
        ["modifierletter"] = "lm",
        ["otherletter"] = "lo",
        ["mark"] = "m",
        ["combiningmark"] = "m",
        ["nonspacingmark"] = "mn",
        ["spacingmark"] = "mc",
        ["enclosingmark"] = "me",
        ["number"] = "n",
        ["decimalnumber"] = "nd",
        ["letternumber"] = "nl",
        ["othernumber"] = "no",
        ["punctuation"] = "p",
        ["connectorpunctuation"] = "pc",
        ["dashpunctuation"] = "pd",
        ["openpunctuation"] = "ps",
        ["closepunctuation"] = "pe",
        ["initialpunctuation"] = "pi",
        ["finalpunctuation"] = "pf",
        ["otherpunctuation"] = "po",
        ["symbol"] = "s",
        ["mathsymbol"] = "sm",
        ["currencysymbol"] = "sc",
        ["modifiersymbol"] = "sk",
        ["othersymbol"] = "so",
        ["separator"] = "z",
        ["spaceseparator"] = "zs",
        ["lineseparator"] = "zl",
        ["paragraphseparator"] = "zp",
        ["other"] = "c",
        ["control"] = "cc",
        ["format"] = "cf",
        ["surrogate"] = "cs",
        ["privateuse"] = "co",
        ["unassigned"] = "cn",
    };

    /// <summary>The set a property name stands for, or null for an unknown name. Case, spaces, '-' and '_' do not matter.</summary>
    public static CodePointSet? Find(string name)
    {
        string key = Canonical(name);
        int equals = key.IndexOf('=', StringComparison.Ordinal);
        if (equals >= 0)
        {
            string kind = key[..equals];
            key = key[(equals + 1)..];
            return kind is "script" or "sc" ? Script(key) : kind is "generalcategory" or "gc" ? Category(key) : null;
        }

        return Category(key) ?? Derived(key) ?? Script(key);
    }

    /// <summary>A POSIX bracket class as Oniguruma defines it for Unicode text, or null. Two differ from the property of that
    /// name.</summary>
    public static CodePointSet? FindPosix(string name) => name switch
    {
        "punct" => Union(Category("p")!, Category("s")!),
        "word" => Categories.Word,
        "alnum" or "alpha" or "blank" or "cntrl" or "digit" or "graph" or "lower" or "print" or "space" or "upper" or "xdigit" or "ascii" => Derived(name),
        _ => null,
    };

    private static string Canonical(string name) =>
        name.ToLowerInvariant().Replace(" ", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal);

    private static CodePointSet? Category(string key)
    {
        if (LongNames.TryGetValue(key, out string? shortName))
            key = shortName;
        if (CategoryNames.TryGetValue(key, out UnicodeCategory[]? one))
            return Categories.Union([], one);
        if (key == "lc" || key == "casedletter" || key == "l&")
            return Categories.Union([], UnicodeCategory.UppercaseLetter, UnicodeCategory.LowercaseLetter, UnicodeCategory.TitlecaseLetter);
        if (key.Length != 1)
            return null;
        var set = new CodePointSet();
        foreach ((string name, UnicodeCategory[] members) in CategoryNames)
        {
            if (name[0] == key[0])
                set.Add(Categories.Of(members[0]));
        }

        return set.IsEmpty ? null : set;
    }

    private static CodePointSet? Script(string key) =>
        Scripts.Instance.TryGetIndex(key, out int script) ? Scripts.Instance.Members(script) : null;

    private static CodePointSet? Derived(string key) => key switch
    {
        "any" => CodePointSet.Of(0, CodePointSet.Last),
        "assigned" => Categories.Of(UnicodeCategory.OtherNotAssigned).Complement(),
        "ascii" => CodePointSet.Of(0, 0x7F),
        "alpha" or "alphabetic" => Categories.Alphabetic,
        "alnum" => Union(Categories.Alphabetic, Categories.Of(UnicodeCategory.DecimalDigitNumber)),
        "blank" => Categories.Union([(9, 9)], UnicodeCategory.SpaceSeparator),
        "cntrl" => Categories.Of(UnicodeCategory.Control),
        "digit" => Categories.Of(UnicodeCategory.DecimalDigitNumber),
        "space" or "whitespace" => Categories.WhiteSpace,
        "upper" or "uppercase" => Categories.Uppercase,
        "lower" or "lowercase" => Categories.Lowercase,
        "punct" => Category("p"),
        "xdigit" => Categories.Union([(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
        "word" => Categories.PatternWord,
        "graph" => Invisible(spaces: true).Complement(),
        "print" => Invisible(spaces: false).Complement(),
        _ => null,
    };

    private static CodePointSet Union(CodePointSet one, CodePointSet other)
    {
        var union = new CodePointSet();
        union.Add(one);
        union.Add(other);
        return union;
    }

    private static CodePointSet Invisible(bool spaces)
    {
        CodePointSet set = Categories.Union([], UnicodeCategory.Control, UnicodeCategory.Surrogate, UnicodeCategory.OtherNotAssigned);
        if (spaces)
            set.Add(Categories.WhiteSpace);
        return set;
    }
}
