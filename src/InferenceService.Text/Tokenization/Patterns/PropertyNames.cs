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

    /// <summary>A POSIX bracket class as Oniguruma defines it for Unicode text, or null.</summary>
    public static CodePointSet? FindPosix(string name) => name is "alnum" or "alpha" or "blank" or "cntrl" or "digit" or "graph"
        or "lower" or "print" or "punct" or "space" or "upper" or "xdigit" or "ascii" or "word" ? Derived(name) : null;

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
        "alnum" => With(Categories.Alphabetic, UnicodeCategory.DecimalDigitNumber),
        "blank" => Categories.Union([(9, 9)], UnicodeCategory.SpaceSeparator),
        "cntrl" => Categories.Of(UnicodeCategory.Control),
        "digit" => Categories.Of(UnicodeCategory.DecimalDigitNumber),
        "space" or "whitespace" => Categories.WhiteSpace,
        "upper" or "uppercase" => Categories.Union([(0x2160, 0x216F), (0x24B6, 0x24CF), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189)],
            UnicodeCategory.UppercaseLetter),
        "lower" or "lowercase" => Categories.Union([(0xAA, 0xAA), (0xBA, 0xBA), (0x2B0, 0x2B8), (0x2C0, 0x2C1), (0x2E0, 0x2E4), (0x345, 0x345),
            (0x37A, 0x37A), (0x1D2C, 0x1D6A), (0x1D78, 0x1D78), (0x1D9B, 0x1DBF), (0x2071, 0x2071), (0x207F, 0x207F), (0x2090, 0x209C),
            (0x2170, 0x217F), (0x24D0, 0x24E9), (0x2C7C, 0x2C7D), (0xA69C, 0xA69D), (0xA770, 0xA770), (0xA7F8, 0xA7F9), (0xAB5C, 0xAB5F)],
            UnicodeCategory.LowercaseLetter),
        "punct" => Categories.Union([(0x24, 0x24), (0x2B, 0x2B), (0x3C, 0x3E), (0x5E, 0x5E), (0x60, 0x60), (0x7C, 0x7C), (0x7E, 0x7E)],
            UnicodeCategory.ConnectorPunctuation, UnicodeCategory.DashPunctuation, UnicodeCategory.OpenPunctuation, UnicodeCategory.ClosePunctuation,
            UnicodeCategory.InitialQuotePunctuation, UnicodeCategory.FinalQuotePunctuation, UnicodeCategory.OtherPunctuation),
        "xdigit" => Categories.Union([(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
        "word" => Categories.Word,
        "graph" => Invisible(spaces: true).Complement(),
        "print" => Invisible(spaces: false).Complement(),
        _ => null,
    };

    private static CodePointSet With(CodePointSet set, UnicodeCategory category)
    {
        CodePointSet union = Categories.Union([], category);
        union.Add(set);
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
