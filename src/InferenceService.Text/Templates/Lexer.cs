using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

/// <summary>
/// Source to tokens, as Jinja2 reads it with <c>trim_blocks</c> and <c>lstrip_blocks</c> on: the line break after a block or comment
/// goes, and so does white space before one that stands first on its line; a minus strips all white space on its side, a plus
/// keeps it. One line break at the end of the source is dropped.
/// </summary>
internal sealed class Lexer
{
    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _position;
    private int _line = 1;

    // Whether the last tag ended a line, or nothing came yet: white space before the next tag is then at the start of its line.
    private bool _lineStarts = true;

    private Lexer(string source)
    {
        source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        _source = source.EndsWith('\n') ? source[..^1] : source;
    }

    /// <exception cref="TemplateException">The source cannot be cut into tokens.</exception>
    public static List<Token> Read(string source)
    {
        Lexer lexer = new(source);
        lexer.ReadText();
        lexer.Add(TokenKind.End, "");
        return lexer._tokens;
    }

    private static bool IsNameChar(char c) => c == '_' || char.IsLetterOrDigit(c);

    private void Add(TokenKind kind, string text) => _tokens.Add(new Token(kind, text, _line));

    private TemplateException Error(string message) => new(message, _line);

    /// <summary>Moves on, counting lines.</summary>
    private void SkipTo(int position)
    {
        _line += _source.AsSpan(_position..position).Count('\n');
        _position = position;
    }

    private bool At(string text) => string.CompareOrdinal(_source, _position, text, 0, text.Length) == 0;

    private char Peek(int ahead = 0) => _position + ahead < _source.Length ? _source[_position + ahead] : '\0';

    private int SkipSpace(int position)
    {
        while (position < _source.Length && PythonText.IsSpace(_source[position]))
            position++;
        return position;
    }

    private void ReadText()
    {
        while (_position < _source.Length)
        {
            int tag = FindTag(_position);
            if (tag < 0)
            {
                Add(TokenKind.Data, _source[_position..]);
                SkipTo(_source.Length);
                return;
            }
            char kind = _source[tag + 1];
            int inside = tag + 2;
            char sign = inside < _source.Length && _source[inside] is '-' or '+' ? _source[inside++] : '\0';
            AddData(_position, tag, sign, mayStrip: kind != '{');
            SkipTo(inside);
            if (kind == '#')
                SkipComment();
            else if (kind == '%' && FindRaw(inside) is int raw)
                ReadRaw(raw);
            else
                ReadTag(kind == '%');
        }
    }

    private int FindTag(int from)
    {
        for (int i = from; ; i++)
        {
            int brace = _source.IndexOf('{', i);
            if (brace < 0 || brace + 1 >= _source.Length)
                return -1;
            if (_source[brace + 1] is '%' or '{' or '#')
                return brace;
            i = brace;
        }
    }

    /// <summary>Adds the text before a tag, stripped as the tag's sign asks.</summary>
    private void AddData(int start, int stop, char sign, bool mayStrip)
    {
        string text = _source[start..stop];
        if (sign == '-')
            text = PythonText.TrimEnd(text);
        else if (sign != '+' && mayStrip)
        {
            int lineStart = text.LastIndexOf('\n') + 1;
            if ((lineStart > 0 || _lineStarts) && SkipSpace(start + lineStart) >= stop)
                text = text[..lineStart];
        }
        if (text.Length > 0)
            Add(TokenKind.Data, text);
    }

    /// <summary>Ends a tag whose closing mark starts here and has this length; with a minus all white space after it goes too.</summary>
    private void CloseTag(int closing, char sign, bool trimLine)
    {
        int end = _position + closing;
        if (sign == '-')
            end = SkipSpace(end);
        else if (sign != '+' && trimLine && end < _source.Length && _source[end] == '\n')
            end++;
        _lineStarts = _source[end - 1] == '\n';
        SkipTo(end);
    }

    private void SkipComment()
    {
        int end = _source.IndexOf("#}", _position, StringComparison.Ordinal);
        if (end < 0)
            throw Error("Missing end of comment tag");
        char sign = end > _position && _source[end - 1] is '-' or '+' ? _source[end - 1] : '\0';
        SkipTo(end);
        CloseTag(2, sign, trimLine: true);
    }

    /// <summary>If the tag's name is <c>raw</c>, the position where its end mark begins.</summary>
    private int? FindRaw(int inside)
    {
        int name = SkipSpace(inside);
        if (string.CompareOrdinal(_source, name, "raw", 0, 3) != 0)
            return null;
        int end = SkipSpace(name + 3);
        return string.CompareOrdinal(_source, end, "-%}", 0, 3) == 0 || string.CompareOrdinal(_source, end, "%}", 0, 2) == 0 ? end : null;
    }

    private void ReadRaw(int end)
    {
        SkipTo(end);
        bool strip = Peek() == '-';
        CloseTag(strip ? 3 : 2, strip ? '-' : '\0', trimLine: false);
        int start = _position;
        for (int tag = start - 1; ;)
        {
            tag = _source.IndexOf("{%", tag + 1, StringComparison.Ordinal);
            if (tag < 0)
                throw Error("Missing end of raw directive");
            int inside = tag + 2;
            char sign = inside < _source.Length && _source[inside] is '-' or '+' ? _source[inside++] : '\0';
            int name = SkipSpace(inside);
            if (string.CompareOrdinal(_source, name, "endraw", 0, 6) != 0)
                continue;
            int close = SkipSpace(name + 6);
            char closeSign = close < _source.Length && _source[close] is '-' or '+' ? _source[close++] : '\0';
            if (string.CompareOrdinal(_source, close, "%}", 0, 2) != 0)
                continue;
            AddData(start, tag, sign, mayStrip: true);
            SkipTo(close);
            CloseTag(2, closeSign, trimLine: true);
            return;
        }
    }

    /// <summary>Reads the inside of a print statement or a block, up to its end mark.</summary>
    private void ReadTag(bool block)
    {
        Add(block ? TokenKind.BlockBegin : TokenKind.VariableBegin, "");
        string mark = block ? "%}" : "}}";
        Stack<char> open = new();
        while (true)
        {
            SkipTo(SkipSpace(_position));
            if (_position >= _source.Length)
                return;
            if (open.Count == 0)
            {
                char sign = Peek() == '-' || (block && Peek() == '+') ? Peek() : '\0';
                if (sign != '\0' && string.CompareOrdinal(_source, _position + 1, mark, 0, 2) == 0)
                    SkipTo(_position + 1);
                else
                    sign = '\0';
                if (At(mark))
                {
                    Add(block ? TokenKind.BlockEnd : TokenKind.VariableEnd, "");
                    CloseTag(2, sign, trimLine: block);
                    return;
                }
            }
            ReadToken(open);
        }
    }

    private void ReadToken(Stack<char> open)
    {
        char c = Peek();
        if (char.IsAsciiDigit(c))
            ReadNumber();
        else if (IsNameChar(c))
            ReadName();
        else if (c is '\'' or '"')
            ReadString(c);
        else
            ReadOperator(c, open);
    }

    private void ReadName()
    {
        int end = _position;
        while (end < _source.Length && IsNameChar(_source[end]))
            end++;
        if (char.IsDigit(_source[_position]))
            throw Error("Invalid character in identifier");
        Add(TokenKind.Name, _source[_position..end]);
        _position = end;
    }

    private void ReadNumber()
    {
        (int end, bool isFloat) = NumberScanner.Scan(_source, _position);
        Add(isFloat ? TokenKind.Float : TokenKind.Integer, _source[_position..end].Replace("_", "", StringComparison.Ordinal));
        _position = end;
    }

    private void ReadString(char quote)
    {
        int end = _position + 1;
        while (end < _source.Length && _source[end] != quote)
            end += _source[end] == '\\' ? 2 : 1;
        if (end >= _source.Length)
            throw Error($"unexpected char {PythonText.Quote(quote.ToString())} at {_position}: the string does not end");
        Add(TokenKind.String, StringEscapes.Decode(_source[(_position + 1)..end], _line));
        SkipTo(end + 1);
    }

    private void ReadOperator(char c, Stack<char> open)
    {
        string two = _position + 1 < _source.Length ? _source.Substring(_position, 2) : "";
        string op = two is "//" or "**" or "==" or "!=" or ">=" or "<=" ? two : c.ToString();
        if (op.Length == 1 && !"+-/*%~[](){}><=.:|,;".Contains(c))
            throw Error($"unexpected char {PythonText.Quote(op)} at {_position}");
        if (c is '(' or '[' or '{')
            open.Push(c == '(' ? ')' : c == '[' ? ']' : '}');
        else if (c is ')' or ']' or '}')
        {
            if (!open.TryPop(out char expected))
                throw Error($"unexpected '{c}'");
            if (expected != c)
                throw Error($"unexpected '{c}', expected '{expected}'");
        }
        Add(TokenKind.Operator, op);
        _position += op.Length;
    }
}
