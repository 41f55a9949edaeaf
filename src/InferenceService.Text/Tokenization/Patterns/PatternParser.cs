using System.Globalization;
using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

/// <summary>Reads a regular expression in Oniguruma's Ruby syntax, which is what tokenizer.json is written in: possessive quantifiers,
/// nested character classes with &amp;&amp;, ^ and $ at every line, (?m) for a dot that matches newlines.</summary>
/// <remarks>Captures are plain groups. What would need a capture's text (back references, conditionals, calls) is refused by
/// name.</remarks>
internal sealed partial class PatternParser
{
    private const int MaxDepth = 64;
    private const int MaxRepeat = 1000;

    private readonly string _pattern;
    private int _at;
    private int _depth;
    private bool _ignoreCase;
    private bool _dotAll;
    private bool _extended;

    private PatternParser(string pattern) => _pattern = pattern;

    private bool More => _at < _pattern.Length;

    /// <exception cref="TokenizerException">The pattern is damaged or asks for something unsupported.</exception>
    public static PatternNode Parse(string pattern)
    {
        var parser = new PatternParser(pattern);
        PatternNode node = parser.Choice();
        return parser.More ? throw parser.Error("unmatched ')'") : node;
    }

    private PatternNode Choice()
    {
        if (++_depth > MaxDepth)
            throw Error($"more than {MaxDepth} nested groups");
        (bool ignoreCase, bool dotAll, bool extended) = (_ignoreCase, _dotAll, _extended);
        var branches = new List<PatternNode> { Sequence() };
        while (More && _pattern[_at] == '|')
        {
            _at++;
            branches.Add(Sequence());
        }

        (_ignoreCase, _dotAll, _extended) = (ignoreCase, dotAll, extended);
        _depth--;
        return branches.Count == 1 ? branches[0] : new PatternNode.Choice(branches);
    }

    private PatternNode Sequence()
    {
        var items = new List<PatternNode>();
        while (More && _pattern[_at] is not ('|' or ')'))
        {
            if (_extended && SkipExtended())
                continue;
            PatternNode? atom = Atom();
            if (atom is not null)
                items.Add(Quantified(atom));
        }

        return items.Count switch { 0 => new PatternNode.Empty(), 1 => items[0], _ => new PatternNode.Sequence(items) };
    }

    private bool SkipExtended()
    {
        if (char.IsWhiteSpace(_pattern[_at]))
        {
            _at++;
            return true;
        }

        if (_pattern[_at] != '#')
            return false;
        int end = _pattern.IndexOf('\n', _at);
        _at = end < 0 ? _pattern.Length : end + 1;
        return true;
    }

    private PatternNode? Atom()
    {
        char c = _pattern[_at];
        switch (c)
        {
            case '(':
                return Group();
            case '[':
                _at++;
                return One(Class());
            case '.':
                _at++;
                return new PatternNode.One(_dotAll ? CodePointSet.Of(0, CodePointSet.Last) : CodePointSet.Of('\n').Complement());
            case '^':
                _at++;
                return new PatternNode.Anchor(AnchorKind.LineStart);
            case '$':
                _at++;
                return new PatternNode.Anchor(AnchorKind.LineEnd);
            case '\\':
                return Escape();
            case '*' or '+' or '?':
                throw Error($"nothing to repeat before '{c}'");
            default:
                return One(CodePointSet.Of(CodePoint()));
        }
    }

    private PatternNode.One One(CodePointSet set) => new(_ignoreCase ? CaseVariants.Close(set) : set);

    /// <summary>The code point at the current place, which is a plain character.</summary>
    private int CodePoint()
    {
        if (!Rune.TryGetRuneAt(_pattern, _at, out Rune rune))
            throw Error("half a surrogate pair");
        _at += rune.Utf16SequenceLength;
        return rune.Value;
    }

    private PatternNode Quantified(PatternNode atom)
    {
        for (int stacked = 0; More; stacked++)
        {
            if (stacked > MaxDepth)
                throw Error("too many quantifiers in a row");
            if (_extended && SkipExtended())
                continue;
            int min, max;
            bool braces = false;
            switch (_pattern[_at])
            {
                case '*':
                    (min, max) = (0, -1);
                    _at++;
                    break;
                case '+':
                    (min, max) = (1, -1);
                    _at++;
                    break;
                case '?':
                    (min, max) = (0, 1);
                    _at++;
                    break;
                case '{' when Braces(out min, out max):
                    braces = true;
                    break;
                default:
                    return atom;
            }

            RepeatKind kind = RepeatKind.Greedy;
            if (More && _pattern[_at] == '?')
            {
                kind = RepeatKind.Lazy;
                _at++;
            }
            else if (!braces && More && _pattern[_at] == '+')
            {
                // After braces a '+' is a second quantifier in Ruby syntax, not a possessive mark: the loop takes it next.
                kind = RepeatKind.Possessive;
                _at++;
            }

            atom = new PatternNode.Repeat(atom, min, max, kind);
        }

        return atom;
    }

    /// <summary>{n}, {n,}, {,m} or {n,m}; anything else leaves the brace a plain character.</summary>
    private bool Braces(out int min, out int max)
    {
        (min, max) = (0, 0);
        int close = _pattern.IndexOf('}', _at);
        if (close < 0)
            return false;
        ReadOnlySpan<char> inside = _pattern.AsSpan(_at + 1, close - _at - 1);
        int comma = inside.IndexOf(',');
        ReadOnlySpan<char> low = comma < 0 ? inside : inside[..comma];
        ReadOnlySpan<char> high = comma < 0 ? inside : inside[(comma + 1)..];
        if (inside.Trim("0123456789,").Length != 0 || (low.IsEmpty && high.IsEmpty) || high.Contains(','))
            return false;
        max = -1;
        if ((!low.IsEmpty && !TryNumber(low, out min)) || (!high.IsEmpty && !TryNumber(high, out max)))
            throw Error($"a repeat count above {MaxRepeat}");
        if (max >= 0 && min > max)
            throw Error("a repeat range in the wrong order");
        _at = close + 1;
        return true;
    }

    private static bool TryNumber(ReadOnlySpan<char> digits, out int value) =>
        int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value <= MaxRepeat;

    private PatternNode? Group()
    {
        _at++;
        if (!More || _pattern[_at] != '?')
            return Closed(Choice());
        _at++;
        string rest = _pattern.AsSpan(_at, Math.Min(3, _pattern.Length - _at)).ToString();
        if (rest.StartsWith(':'))
            return Enter(1, static body => body);
        if (rest.StartsWith('='))
            return Enter(1, static body => new PatternNode.Look(body, Behind: false, Negated: false));
        if (rest.StartsWith('!'))
            return Enter(1, static body => new PatternNode.Look(body, Behind: false, Negated: true));
        if (rest.StartsWith("<=", StringComparison.Ordinal))
            return Enter(2, static body => new PatternNode.Look(body, Behind: true, Negated: false));
        if (rest.StartsWith("<!", StringComparison.Ordinal))
            return Enter(2, static body => new PatternNode.Look(body, Behind: true, Negated: true));
        if (rest.StartsWith('>'))
            return Enter(1, static body => new PatternNode.Atomic(body));
        if (rest.StartsWith('#'))
        {
            int close = _pattern.IndexOf(')', _at);
            _at = close < 0 ? throw Error("an open comment") : close + 1;
            return null;
        }

        if (rest.StartsWith('<') || rest.StartsWith("P<", StringComparison.Ordinal) || rest.StartsWith('\''))
            return NamedGroup();
        return Options();
    }

    private PatternNode Enter(int skip, Func<PatternNode, PatternNode> wrap)
    {
        _at += skip;
        return wrap(Closed(Choice()));
    }

    private PatternNode Closed(PatternNode body)
    {
        if (!More)
            throw Error("a group without ')'");
        _at++;
        return body;
    }

    private PatternNode NamedGroup()
    {
        char close = _pattern[_at] == '\'' ? '\'' : '>';
        int end = _pattern.IndexOf(close, _at + 1);
        if (end < 0)
            throw Error("a group name without end");
        _at = end + 1;
        return Closed(Choice());
    }

    /// <summary>(?imx-imx) up to the end of the enclosing group, or (?imx-imx:...).</summary>
    private PatternNode? Options()
    {
        (bool ignoreCase, bool dotAll, bool extended) = (_ignoreCase, _dotAll, _extended);
        bool on = true;
        while (More)
        {
            char c = _pattern[_at++];
            switch (c)
            {
                case '-':
                    on = false;
                    break;
                case 'i':
                    _ignoreCase = on;
                    break;
                case 'm' or 's':
                    _dotAll = on;
                    break;
                case 'x':
                    _extended = on;
                    break;
                case 'u':
                    break;
                case ')':
                    // Everything up to the group's end, later branches included, is read under the new options.
                    return Choice();
                case ':':
                    PatternNode body = Closed(Choice());
                    (_ignoreCase, _dotAll, _extended) = (ignoreCase, dotAll, extended);
                    return body;
                default:
                    throw Error($"the unsupported group (?{c}");
            }
        }

        throw Error("a group without ')'");
    }

    private TokenizerException Error(string what) =>
        new($"regular expression {JsonPart.Quote(_pattern)} has {what} at position {_at}");
}
