namespace InferenceService.Text.Templates;

/// <summary>
/// Expressions, by descent, in Jinja2's order of binding from loose to tight: <c>if</c>, <c>or</c>, <c>and</c>, <c>not</c>, comparisons,
/// <c>+ -</c>, <c>~</c>, <c>* / // %</c>, <c>**</c> (from the left), signs, then subscripts and calls, then filters and tests.
/// </summary>
internal sealed partial class ExpressionParser(TokenStream tokens)
{
    public Expr Parse(bool withCondition = true)
    {
        tokens.Enter();
        Expr expression = withCondition ? Condition() : Or();
        tokens.Leave();
        return expression;
    }

    /// <summary>One expression, or several separated by commas, which make a tuple.</summary>
    /// <param name="endName">A name at which the list ends.</param>
    /// <param name="allowEmpty">Whether nothing at all is the empty tuple.</param>
    public Expr ParseTuple(bool withCondition = true, string? endName = null, bool allowEmpty = false) =>
        TupleOf(() => Parse(withCondition), endName, allowEmpty);

    /// <summary>Left side of an assignment: names, perhaps attributes of namespaces, perhaps several.</summary>
    public Expr ParseTarget(string? endName = null, bool withNamespace = false, NameUse use = NameUse.Store)
    {
        int line = tokens.Current.Line;
        Expr target = TupleOf(() => Primary(withNamespace), endName, allowEmpty: false);
        return MarkTarget(target, use) ? target : throw new TemplateException("can't assign to this expression", line);
    }

    public CallSyntax ParseArguments()
    {
        int line = tokens.ExpectOperator("(").Line;
        List<Expr> positional = [];
        List<(string, Expr)> named = [];
        Expr? star = null, doubleStar = null;
        bool needsComma = false;
        while (!tokens.Current.IsOperator(")"))
        {
            if (needsComma)
            {
                tokens.ExpectOperator(",");
                if (tokens.Current.IsOperator(")"))
                    break;
            }
            needsComma = true;
            if (tokens.SkipOperator("*"))
            {
                Ensure(star is null && doubleStar is null);
                star = Parse();
            }
            else if (tokens.SkipOperator("**"))
            {
                Ensure(doubleStar is null);
                doubleStar = Parse();
            }
            else if (tokens.Current.Kind == TokenKind.Name && tokens.Following.IsOperator("="))
            {
                Ensure(doubleStar is null);
                string name = tokens.Next().Text;
                tokens.Next();
                named.Add((name, Parse()));
            }
            else
            {
                Ensure(star is null && doubleStar is null && named.Count == 0);
                positional.Add(Parse());
            }
        }
        tokens.ExpectOperator(")");
        return positional.Count == 0 && named.Count == 0 && star is null && doubleStar is null
            ? CallSyntax.None
            : new CallSyntax(positional, named, star, doubleStar);

        void Ensure(bool valid)
        {
            if (!valid)
                throw new TemplateException("invalid syntax for function call expression", line);
        }
    }

    /// <summary>A chain of filters after their bars, each applied to the one before.</summary>
    /// <param name="input">What the first is applied to; null inside a filter or set block.</param>
    /// <param name="first">Whether the first filter stands without a bar.</param>
    public FilterExpr? ParseFilters(Expr? input, bool first = false)
    {
        Expr? result = input;
        int levels = 0;
        while (first || tokens.SkipOperator("|"))
        {
            first = false;
            tokens.Enter();
            levels++;
            int line = tokens.Current.Line;
            string name = DottedName();
            result = new FilterExpr(result, name, OptionalArguments(), line);
        }
        tokens.Leave(levels);
        return result as FilterExpr;
    }

    private static bool MarkTarget(Expr target, NameUse use)
    {
        switch (target)
        {
            case NameExpr name:
                name.Use = use;
                return true;
            case TupleExpr tuple:
                return tuple.Items.TrueForAll(item => MarkTarget(item, use));
            default:
                return target is NamespaceTarget;
        }
    }

    private Expr TupleOf(Func<Expr> item, string? endName, bool allowEmpty)
    {
        int line = tokens.Current.Line;
        List<Expr> items = [];
        bool isTuple = false;
        while (!AtTupleEnd(endName))
        {
            items.Add(item());
            if (!tokens.Current.IsOperator(","))
                break;
            isTuple = true;
            tokens.Next();
        }
        if (!isTuple && items.Count == 1)
            return items[0];
        if (!isTuple && !allowEmpty)
            throw tokens.Error($"Expected an expression, got '{tokens.Current.Describe()}'");
        return new TupleExpr(items, line);
    }

    private bool AtTupleEnd(string? endName) =>
        tokens.Current.Kind is TokenKind.VariableEnd or TokenKind.BlockEnd || tokens.Current.IsOperator(")")
        || (endName is not null && tokens.Current.IsName(endName));

    private Expr Condition()
    {
        Expr expression = Or();
        int levels = 0;
        while (tokens.SkipName("if"))
        {
            tokens.Enter();
            levels++;
            int line = tokens.Current.Line;
            Expr test = Or();
            Expr? otherwise = null;
            if (tokens.SkipName("else"))
            {
                tokens.Enter();
                otherwise = Condition();
                tokens.Leave();
            }
            expression = new ConditionExpr(test, expression, otherwise, line);
        }
        tokens.Leave(levels);
        return expression;
    }

    /// <summary>Operators of one rank, grouped from the left. A long chain nests as deep as it is long.</summary>
    private Expr LeftToRight(Func<Expr> operand, Func<Token, bool> isOperator, Func<string, Expr, Expr, int, Expr> make)
    {
        Expr left = operand();
        int levels = 0;
        while (isOperator(tokens.Current))
        {
            tokens.Enter();
            levels++;
            Token op = tokens.Next();
            left = make(op.Text, left, operand(), op.Line);
        }
        tokens.Leave(levels);
        return left;
    }

    private Expr Or() => LeftToRight(And, t => t.IsName("or"), (_, l, r, line) => new LogicExpr(false, l, r, line));

    private Expr And() => LeftToRight(Not, t => t.IsName("and"), (_, l, r, line) => new LogicExpr(true, l, r, line));

    private Expr Not()
    {
        if (!tokens.Current.IsName("not"))
            return Comparisons();
        tokens.Enter();
        int line = tokens.Next().Line;
        Expr operand = Not();
        tokens.Leave();
        return new UnaryExpr("not", operand, line);
    }

    private Expr Comparisons()
    {
        int line = tokens.Current.Line;
        Expr first = Sum();
        List<(string, Expr)> rest = [];
        while (true)
        {
            Token token = tokens.Current;
            string op;
            if (token.Kind == TokenKind.Operator && token.Text is "==" or "!=" or "<" or "<=" or ">" or ">=")
                op = token.Text;
            else if (token.IsName("in"))
                op = "in";
            else if (token.IsName("not") && tokens.Following.IsName("in"))
                op = "not in";
            else
                return rest.Count == 0 ? first : new CompareExpr(first, rest, line);
            tokens.Next();
            if (op == "not in")
                tokens.Next();
            rest.Add((op, Sum()));
        }
    }

    private Expr Sum() => LeftToRight(Concat, t => t.IsOperator("+") || t.IsOperator("-"), Binary);

    private Expr Concat()
    {
        int line = tokens.Current.Line;
        Expr first = Product();
        if (!tokens.Current.IsOperator("~"))
            return first;
        List<Expr> parts = [first];
        while (tokens.SkipOperator("~"))
            parts.Add(Product());
        return new ConcatExpr(parts, line);
    }

    private Expr Product() =>
        LeftToRight(Power, t => t.Kind == TokenKind.Operator && t.Text is "*" or "/" or "//" or "%", Binary);

    private Expr Power() => LeftToRight(() => Unary(), t => t.IsOperator("**"), Binary);

    private static BinaryExpr Binary(string op, Expr left, Expr right, int line) => new(op, left, right, line);

    private Expr Unary(bool withFilters = true)
    {
        Token token = tokens.Current;
        Expr expression;
        if (token.IsOperator("-") || token.IsOperator("+"))
        {
            tokens.Enter();
            tokens.Next();
            expression = new UnaryExpr(token.Text, Unary(withFilters: false), token.Line);
            tokens.Leave();
        }
        else
        {
            expression = Primary();
        }
        int levels = 0;
        expression = Postfix(expression, ref levels);
        if (withFilters)
            expression = FiltersAndTests(expression, ref levels);
        tokens.Leave(levels);
        return expression;
    }
}
