namespace InferenceService.Text.Templates;

/// <summary>Statements: text, print statements and tags. Tags that read other files or change escaping are refused by name.</summary>
internal sealed class Parser
{
    private readonly TokenStream _tokens;
    private readonly ExpressionParser _expressions;

    // The tags that are open, innermost last, for messages.
    private readonly Stack<(string Tag, string[] Ends)> _open = new();

    private Parser(List<Token> tokens, int maxNesting)
    {
        _tokens = new TokenStream(tokens, maxNesting);
        _expressions = new ExpressionParser(_tokens);
    }

    /// <exception cref="TemplateException">The source is not a template, or it is too long or nested too deep.</exception>
    public static List<Stmt> Parse(string source, TemplateLimits limits)
    {
        if (source.Length > limits.MaxSourceChars)
            throw new TemplateException($"the template has {source.Length} characters, more than {limits.MaxSourceChars}");
        Parser parser = new(Lexer.Read(source), limits.MaxNesting);
        return parser.Statements();
    }

    /// <summary>Statements up to one of the end tags of the innermost open tag, whose name is then current; or up to the end.</summary>
    private List<Stmt> Statements()
    {
        List<Stmt> body = [];
        while (true)
        {
            Token token = _tokens.Next();
            switch (token.Kind)
            {
                case TokenKind.Data:
                    body.Add(new TextStmt(token.Text, token.Line));
                    break;
                case TokenKind.VariableBegin:
                    body.Add(new PrintStmt(_expressions.ParseTuple(), token.Line));
                    _tokens.Expect(TokenKind.VariableEnd);
                    break;
                case TokenKind.BlockBegin:
                    if (_open.Count > 0 && _tokens.Current.Kind == TokenKind.Name && _open.Peek().Ends.Contains(_tokens.Current.Text))
                        return body;
                    body.AddRange(Statement());
                    _tokens.Expect(TokenKind.BlockEnd);
                    break;
                default:
                    if (_open.Count > 0)
                        throw _tokens.Error($"unexpected end of template: the tag '{_open.Peek().Tag}' is not closed by {EndsOf(_open.Peek().Ends)}");
                    return body;
            }
        }
    }

    private static string EndsOf(string[] ends) => string.Join(" or ", ends.Select(end => $"'{end}'"));

    private List<Stmt> Statement()
    {
        Token tag = _tokens.Current.Kind == TokenKind.Name ? _tokens.Next() : throw _tokens.Error("tag name expected");
        switch (tag.Text)
        {
            case "if":
                return [If(tag)];
            case "for":
                return [For(tag)];
            case "set":
                return [Set(tag)];
            case "macro":
                return [Macro(tag)];
            case "call":
                return [Call(tag)];
            case "generation":
                return [new CallBlockStmt(null, new MacroBody(null, [], [], Body(tag, "endgeneration")), tag.Line)];
            case "filter":
                FilterExpr filter = _expressions.ParseFilters(null, first: true)!;
                return [new FilterBlockStmt(filter, Body(tag, "endfilter"), tag.Line)];
            case "with":
                return [With(tag)];
            case "print":
                return Print();
            case "do":
                return [new DoStmt(_expressions.ParseTuple(), tag.Line)];
            case "break":
                return [new BreakStmt(tag.Line)];
            case "continue":
                return [new ContinueStmt(tag.Line)];
            case "include" or "import" or "from" or "extends" or "block" or "autoescape":
                throw new TemplateException($"the tag '{tag.Text}' is not allowed: a chat template is one file and prints plain text", tag.Line);
            default:
                string hint = _open.TryPeek(out (string Tag, string[] Ends) open)
                    ? $" Inside '{open.Tag}' it could be {EndsOf(open.Ends)}."
                    : "";
                throw new TemplateException($"Encountered unknown tag '{tag.Describe()}'.{hint}", tag.Line);
        }
    }

    /// <summary>The rest of a tag and the statements up to one of its end tags, whose name is then current.</summary>
    private List<Stmt> BodyUntil(Token tag, params string[] ends)
    {
        _tokens.SkipOperator(":");
        _tokens.Expect(TokenKind.BlockEnd);
        _tokens.Enter();
        _open.Push((tag.Text, ends));
        List<Stmt> body = Statements();
        _open.Pop();
        _tokens.Leave();
        return body;
    }

    private List<Stmt> Body(Token tag, string end)
    {
        List<Stmt> body = BodyUntil(tag, end);
        _tokens.Next();
        return body;
    }

    private IfStmt If(Token tag)
    {
        List<IfBranch> branches = [];
        List<Stmt> otherwise = [];
        while (true)
        {
            Expr test = _expressions.ParseTuple(withCondition: false);
            branches.Add(new IfBranch(test, BodyUntil(tag, "elif", "else", "endif")));
            string end = _tokens.Next().Text;
            if (end == "elif")
                continue;
            if (end == "else")
                otherwise = Body(tag, "endif");
            return new IfStmt(branches, otherwise, tag.Line);
        }
    }

    private ForStmt For(Token tag)
    {
        int start = _tokens.Position;
        Expr target = _expressions.ParseTarget(endName: "in");
        _tokens.ExpectName("in");
        Expr items = _expressions.ParseTuple(withCondition: false, endName: "recursive");
        (Expr, Expr)? filter = null;
        if (_tokens.SkipName("if"))
        {
            Expr condition = _expressions.Parse();
            filter = (_tokens.Again(start, () => _expressions.ParseTarget(endName: "in")), condition);
        }
        bool recursive = _tokens.SkipName("recursive");
        List<Stmt> body = BodyUntil(tag, "endfor", "else"), otherwise = [];
        if (_tokens.Next().Text == "else")
            otherwise = Body(tag, "endfor");
        return new ForStmt(target, items, tag.Line) { Body = body, Otherwise = otherwise, Filter = filter, IsRecursive = recursive };
    }

    private Stmt Set(Token tag)
    {
        Expr target = _expressions.ParseTarget(withNamespace: true);
        if (_tokens.SkipOperator("="))
            return new SetStmt(target, _expressions.ParseTuple(), tag.Line);
        FilterExpr? filter = _expressions.ParseFilters(null);
        return new SetBlockStmt(target, filter, Body(tag, "endset"), tag.Line);
    }

    private WithStmt With(Token tag)
    {
        List<(Expr, Expr)> bindings = [];
        while (_tokens.Current.Kind != TokenKind.BlockEnd)
        {
            if (bindings.Count > 0)
                _tokens.ExpectOperator(",");
            Expr target = _expressions.ParseTarget(use: NameUse.Parameter);
            _tokens.ExpectOperator("=");
            bindings.Add((target, _expressions.Parse()));
        }
        return new WithStmt(bindings, Body(tag, "endwith"), tag.Line);
    }

    private List<Stmt> Print()
    {
        List<Stmt> statements = [];
        while (_tokens.Current.Kind != TokenKind.BlockEnd)
        {
            if (statements.Count > 0)
                _tokens.ExpectOperator(",");
            statements.Add(new PrintStmt(_expressions.Parse(), _tokens.Current.Line));
        }
        return statements;
    }

    private MacroStmt Macro(Token tag)
    {
        Token name = _tokens.ExpectName();
        (List<NameExpr> parameters, List<Expr> defaults) = Signature();
        MacroBody body = new(name.Text, parameters, defaults, Body(tag, "endmacro"));
        return new MacroStmt(new NameExpr(name.Text, name.Line) { Use = NameUse.Store }, body, tag.Line);
    }

    private CallBlockStmt Call(Token tag)
    {
        (List<NameExpr> parameters, List<Expr> defaults) = _tokens.Current.IsOperator("(") ? Signature() : ([], []);
        if (_expressions.Parse() is not CallExpr call)
            throw new TemplateException("expected call", tag.Line);
        return new CallBlockStmt(call, new MacroBody(null, parameters, defaults, Body(tag, "endcall")), tag.Line);
    }

    private (List<NameExpr> Parameters, List<Expr> Defaults) Signature()
    {
        List<NameExpr> parameters = [];
        List<Expr> defaults = [];
        _tokens.ExpectOperator("(");
        while (!_tokens.Current.IsOperator(")"))
        {
            if (parameters.Count > 0)
                _tokens.ExpectOperator(",");
            Token name = _tokens.ExpectName();
            if (parameters.Exists(p => p.Name == name.Text))
                throw new TemplateException($"the parameter '{name.Describe()}' is named twice", name.Line);
            parameters.Add(new NameExpr(name.Text, name.Line) { Use = NameUse.Parameter });
            if (_tokens.SkipOperator("="))
                defaults.Add(_expressions.Parse());
            else if (defaults.Count > 0)
                throw _tokens.Error("non-default argument follows default argument");
        }
        _tokens.ExpectOperator(")");
        return (parameters, defaults);
    }
}
