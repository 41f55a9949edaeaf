using System.Globalization;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

/// <content>Escapes and character classes.</content>
internal sealed partial class PatternParser
{
    private static readonly CodePointSet LineBreaks = Categories.Union([(0xA, 0xD), (0x85, 0x85), (0x2028, 0x2029)]);

    private PatternNode Escape()
    {
        if (_at + 1 >= _pattern.Length)
            throw Error("a trailing '\\'");
        AnchorKind? anchor = _pattern[_at + 1] switch
        {
            'A' => AnchorKind.TextStart,
            'z' => AnchorKind.TextEnd,
            'Z' => AnchorKind.TextEndOrFinalNewline,
            'b' => AnchorKind.WordBoundary,
            'B' => AnchorKind.NotWordBoundary,
            _ => null,
        };
        if (anchor is { } kind)
        {
            _at += 2;
            return new PatternNode.Anchor(kind);
        }

        char c = _pattern[_at + 1];
        if (c == 'R')
        {
            _at += 2;
            return new PatternNode.Atomic(new PatternNode.Choice([
                new PatternNode.Sequence([new PatternNode.One(CodePointSet.Of('\r')), new PatternNode.One(CodePointSet.Of('\n'))]),
                new PatternNode.One(LineBreaks)]));
        }

        if (c is 'G' or 'K' or 'X' or 'k' or 'g' or (>= '1' and <= '9'))
            throw Error($"the unsupported escape '\\{c}'");
        return One(EscapedSet());
    }

    /// <summary>The set that an escape stands for, inside a class or outside.</summary>
    private CodePointSet EscapedSet()
    {
        _at++;
        if (!More)
            throw Error("a trailing '\\'");
        char c = _pattern[_at];
        CodePointSet? set = c switch
        {
            'd' => Categories.Of(UnicodeCategory.DecimalDigitNumber),
            'D' => Categories.Of(UnicodeCategory.DecimalDigitNumber).Complement(),
            'w' => Categories.PatternWord,
            'W' => Categories.PatternWord.Complement(),
            's' => Categories.WhiteSpace,
            'S' => Categories.WhiteSpace.Complement(),
            'h' => PropertyNames.Find("xdigit"),
            'H' => PropertyNames.Find("xdigit")!.Complement(),
            _ => null,
        };
        if (set is not null)
        {
            _at++;
            return set;
        }

        return c is 'p' or 'P' ? Property() : CodePointSet.Of(EscapedCodePoint());
    }

    private CodePointSet Property()
    {
        bool negated = _pattern[_at] == 'P';
        _at++;
        string name;
        if (More && _pattern[_at] == '{')
        {
            int close = _pattern.IndexOf('}', _at);
            if (close < 0)
                throw Error("a property without '}'");
            name = _pattern[(_at + 1)..close];
            _at = close + 1;
        }
        else if (More)
        {
            name = _pattern[_at++].ToString();
        }
        else
        {
            throw Error("a property without a name");
        }

        if (name.StartsWith('^'))
        {
            negated = !negated;
            name = name[1..];
        }

        CodePointSet set = PropertyNames.Find(name) ?? throw Error($"the unknown property {JsonPart.Quote(name)}");
        return negated ? set.Complement() : set;
    }

    /// <summary>A control, numeric or identity escape; the backslash is already behind.</summary>
    private int EscapedCodePoint()
    {
        char c = _pattern[_at];
        switch (c)
        {
            case 't':
                _at++;
                return '\t';
            case 'n':
                _at++;
                return '\n';
            case 'r':
                _at++;
                return '\r';
            case 'f':
                _at++;
                return '\f';
            case 'v':
                _at++;
                return '\v';
            case 'a':
                _at++;
                return '\a';
            case 'e':
                _at++;
                return 0x1B;
            case 'b':
                _at++;
                return '\b';
            case 'x' or 'u' or 'U':
                _at++;
                return HexCodePoint(c);
            case >= '0' and <= '7':
                int value = 0;
                for (int digits = 0; digits < 3 && More && _pattern[_at] is >= '0' and <= '7'; digits++)
                    value = (value * 8) + (_pattern[_at++] - '0');
                return value;
            default:
                return CodePoint();
        }
    }

    private int HexCodePoint(char kind)
    {
        int start = _at;
        int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
        int end = Math.Min(start + digits, _pattern.Length);
        if (More && _pattern[_at] == '{')
        {
            start++;
            end = _pattern.IndexOf('}', start);
            _at = end < 0 ? throw Error("a hexadecimal escape without '}'") : end + 1;
        }
        else
        {
            while (_at < end && char.IsAsciiHexDigit(_pattern[_at]))
                _at++;
            end = _at;
        }

        return int.TryParse(_pattern.AsSpan(start, end - start), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value)
            && value is >= 0 and <= CodePointSet.Last
            ? value
            : throw Error("a damaged hexadecimal escape");
    }

    /// <summary>A bracket class; the opening bracket is already behind.</summary>
    private CodePointSet Class()
    {
        if (++_depth > MaxDepth)
            throw Error($"more than {MaxDepth} nested groups");
        bool negated = More && _pattern[_at] == '^';
        if (negated)
            _at++;
        CodePointSet? intersection = null;
        var set = new CodePointSet();
        bool first = true;
        while (true)
        {
            if (!More)
                throw Error("a character class without ']'");
            if (_pattern[_at] == ']' && !first)
                break;
            if (_pattern.AsSpan(_at).StartsWith("&&"))
            {
                _at += 2;
                intersection = intersection is null ? set : intersection.Intersect(set);
                set = new CodePointSet();
            }
            else
            {
                ClassItem(set);
            }

            first = false;
        }

        _at++;
        _depth--;
        if (intersection is not null)
            set = intersection.Intersect(set);

        // Under (?i) a negated class leaves out the case variants too, so they are added before the complement is taken.
        if (_ignoreCase)
            set = CaseVariants.Close(set);
        return negated ? set.Complement() : set.Settle();
    }

    private void ClassItem(CodePointSet set)
    {
        if (_pattern[_at] == '[')
        {
            if (_pattern.AsSpan(_at).StartsWith("[:") && PosixClass() is { } posix)
            {
                set.Add(posix);
                return;
            }

            _at++;
            set.Add(Class());
            return;
        }

        int first;
        if (_pattern[_at] == '\\')
        {
            CodePointSet escaped = EscapedSet();
            if (escaped.Ranges is not [{ } only] || only.First != only.Last)
            {
                set.Add(escaped);
                return;
            }

            first = only.First;
        }
        else
        {
            first = CodePoint();
        }

        set.Add(first, RangeEnd(first));
    }

    /// <summary>The second half of a range such as a-z; the first half again when there is none.</summary>
    private int RangeEnd(int first)
    {
        if (_at + 1 >= _pattern.Length || _pattern[_at] != '-' || _pattern[_at + 1] is ']' or '[' || _pattern.AsSpan(_at + 1).StartsWith("&&"))
            return first;
        int dash = _at++;
        int last;
        if (_pattern[_at] == '\\')
        {
            CodePointSet escaped = EscapedSet();
            if (escaped.Ranges is not [{ } only] || only.First != only.Last)
            {
                // "a-\d" is the letter, a dash and the digits.
                _at = dash;
                return first;
            }

            last = only.First;
        }
        else
        {
            last = CodePoint();
        }

        return last >= first ? last : throw Error("a character range in the wrong order");
    }

    private CodePointSet? PosixClass()
    {
        int close = _pattern.IndexOf(":]", _at, StringComparison.Ordinal);
        if (close < 0)
            return null;
        string name = _pattern[(_at + 2)..close];
        bool negated = name.StartsWith('^');
        CodePointSet? set = PropertyNames.FindPosix(negated ? name[1..] : name);
        if (set is null)
            return null;
        _at = close + 2;
        return negated ? set.Complement() : set;
    }
}
