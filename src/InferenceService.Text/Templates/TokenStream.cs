namespace InferenceService.Text.Templates;

/// <summary>The tokens of a template with a position in them; past the end it stays at the last token, which is <see cref="TokenKind.End"/>.</summary>
internal sealed class TokenStream(List<Token> tokens, int maxNesting)
{
    private int _position;
    private int _nesting;

    /// <summary>Where the stream is, for <see cref="Again"/>.</summary>
    public int Position => _position;

    public Token Current => tokens[_position];

    public Token Following => tokens[Math.Min(_position + 1, tokens.Count - 1)];

    public Token Next()
    {
        Token token = Current;
        _position = Math.Min(_position + 1, tokens.Count - 1);
        return token;
    }

    public bool SkipName(string name) => Skip(Current.IsName(name));

    public bool SkipOperator(string text) => Skip(Current.IsOperator(text));

    public Token ExpectOperator(string text) => Current.IsOperator(text) ? Next() : throw Unexpected(text);

    public Token ExpectName() => Current.Kind == TokenKind.Name ? Next() : throw Unexpected("name");

    public void ExpectName(string name)
    {
        if (!SkipName(name))
            throw Unexpected(name);
    }

    public void Expect(TokenKind kind)
    {
        if (Current.Kind != kind)
            throw Unexpected(new Token(kind, "", 0).Describe());
        Next();
    }

    /// <summary>Parses something once more from an earlier position, and comes back.</summary>
    public Expr Again(int position, Func<Expr> parse)
    {
        int here = _position;
        _position = position;
        Expr parsed = parse();
        _position = here;
        return parsed;
    }

    public TemplateException Error(string message) => new(message, Current.Line);

    /// <summary>One level of the source opens: a parenthesis, an operator's operand, a block.</summary>
    public void Enter()
    {
        if (++_nesting > maxNesting)
            throw Error($"the template nests expressions or blocks more than {maxNesting} deep");
        Budget.EnsureStack();
    }

    public void Leave(int levels = 1) => _nesting -= levels;

    private TemplateException Unexpected(string expected) => Error(Current.Kind == TokenKind.End
        ? $"unexpected end of template, expected '{expected}'."
        : $"expected token '{expected}', got '{Current.Describe()}'");

    private bool Skip(bool matches)
    {
        if (matches)
            Next();
        return matches;
    }
}
