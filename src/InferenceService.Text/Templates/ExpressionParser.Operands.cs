using System.Globalization;
using System.Numerics;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

/// <summary>Operands: literals, names, what stands behind them (attributes, subscripts, calls, filters, tests).</summary>
internal sealed partial class ExpressionParser
{
    private Expr Primary(bool withNamespace = false)
    {
        Token token = tokens.Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                tokens.Next();
                return Name(token, withNamespace);
            case TokenKind.String:
                return Strings();
            case TokenKind.Integer:
                tokens.Next();
                return new ConstExpr(Integer(token), token.Line);
            case TokenKind.Float:
                tokens.Next();
                return new ConstExpr(new FloatValue(double.Parse(token.Text, NumberStyles.Float, CultureInfo.InvariantCulture)), token.Line);
            case TokenKind.Operator when token.Text == "(":
                tokens.Next();
                tokens.Enter();
                Expr inner = withNamespace
                    ? TupleOf(() => Primary(true), null, allowEmpty: true)
                    : ParseTuple(allowEmpty: true);
                tokens.Leave();
                tokens.ExpectOperator(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                return List();
            case TokenKind.Operator when token.Text == "{":
                return Dict();
            default:
                throw new TemplateException($"unexpected '{token.Describe()}'", token.Line);
        }
    }

    private Expr Name(Token token, bool withNamespace)
    {
        switch (token.Text)
        {
            case "true" or "True" or "false" or "False":
                return new ConstExpr(BoolValue.From(token.Text is "true" or "True"), token.Line);
            case "none" or "None":
                return new ConstExpr(NoneValue.Instance, token.Line);
        }
        if (withNamespace && tokens.SkipOperator("."))
            return new NamespaceTarget(token.Text, tokens.ExpectName().Text, token.Line);
        return new NameExpr(token.Text, token.Line);
    }

    /// <summary>Adjacent string literals are one string.</summary>
    private ConstExpr Strings()
    {
        Token first = tokens.Next();
        string text = first.Text;
        if (tokens.Current.Kind == TokenKind.String)
        {
            System.Text.StringBuilder joined = new(text);
            while (tokens.Current.Kind == TokenKind.String)
                joined.Append(tokens.Next().Text);
            text = joined.ToString();
        }
        return new ConstExpr(new StringValue(text), first.Line);
    }

    private static IntValue Integer(Token token)
    {
        // The scanner let only digits of the right base through, so this fails for length alone.
        BigInteger? number = token.Text.Length > IntValue.MaxBits ? null : TextToNumber.ParseInteger(token.Text, 0);
        return number?.GetBitLength() <= IntValue.MaxBits
            ? new IntValue(number.Value)
            : throw new TemplateException($"an integer is larger than {IntValue.MaxBits} bits", token.Line);
    }

    private ListExpr List()
    {
        int line = tokens.ExpectOperator("[").Line;
        List<Expr> items = [];
        while (!tokens.Current.IsOperator("]"))
        {
            if (items.Count > 0)
            {
                tokens.ExpectOperator(",");
                if (tokens.Current.IsOperator("]"))
                    break;
            }
            items.Add(Parse());
        }
        tokens.ExpectOperator("]");
        return new ListExpr(items, line);
    }

    private DictExpr Dict()
    {
        int line = tokens.ExpectOperator("{").Line;
        List<(Expr, Expr)> entries = [];
        while (!tokens.Current.IsOperator("}"))
        {
            if (entries.Count > 0)
            {
                tokens.ExpectOperator(",");
                if (tokens.Current.IsOperator("}"))
                    break;
            }
            Expr key = Parse();
            tokens.ExpectOperator(":");
            entries.Add((key, Parse()));
        }
        tokens.ExpectOperator("}");
        return new DictExpr(entries, line);
    }

    private Expr Postfix(Expr expression, ref int levels)
    {
        while (tokens.Current.Kind == TokenKind.Operator && tokens.Current.Text is "." or "[" or "(")
        {
            tokens.Enter();
            levels++;
            Token token = tokens.Current;
            expression = token.Text switch
            {
                "(" => new CallExpr(expression, ParseArguments(), token.Line),
                "." => Attribute(expression),
                _ => Subscript(expression),
            };
        }
        return expression;
    }

    private Expr FiltersAndTests(Expr expression, ref int levels)
    {
        while (true)
        {
            Token token = tokens.Current;
            if (token.IsOperator("|"))
            {
                tokens.Next();
                expression = new FilterExpr(expression, DottedName(), OptionalArguments(), token.Line);
            }
            else if (token.IsName("is"))
                expression = Test(expression);
            else if (token.IsOperator("("))
                expression = new CallExpr(expression, ParseArguments(), token.Line);
            else
                return expression;
            tokens.Enter();
            levels++;
        }
    }

    private Expr Attribute(Expr target)
    {
        int line = tokens.Next().Line;
        Token name = tokens.Next();
        return name.Kind switch
        {
            TokenKind.Name => new AttributeExpr(target, name.Text, line),
            TokenKind.Integer => new ItemExpr(target, new ConstExpr(Integer(name), line), line),
            _ => throw new TemplateException("expected name or number", name.Line),
        };
    }

    private Expr Subscript(Expr target)
    {
        int line = tokens.Next().Line;
        List<Expr> keys = [];
        Expr? result = null;
        bool isTuple = false;
        while (!tokens.Current.IsOperator("]"))
        {
            if (keys.Count > 0 || result is not null)
            {
                tokens.ExpectOperator(",");
                isTuple = true;
            }
            Expr? start = tokens.Current.IsOperator(":") ? null : Parse();
            if (!tokens.SkipOperator(":"))
            {
                keys.Add(start ?? throw tokens.Error("expected subscript expression"));
                continue;
            }
            Expr? stop = AtSliceEnd() ? null : Parse();
            Expr? step = tokens.SkipOperator(":") && !AtSliceEnd() ? Parse() : null;
            result = new SliceExpr(target, start, stop, step, line);
        }
        tokens.ExpectOperator("]");
        if (result is not null && isTuple)
            throw new TemplateException("a slice cannot be combined with other subscripts", line);
        return result ?? new ItemExpr(target, keys.Count == 1 ? keys[0] : new TupleExpr(keys, line), line);
    }

    private bool AtSliceEnd() => tokens.Current.Kind == TokenKind.Operator && tokens.Current.Text is ":" or "]" or ",";

    private Expr Test(Expr input)
    {
        int line = tokens.Next().Line;
        bool negated = tokens.SkipName("not");
        string name = DottedName();
        CallSyntax arguments = CallSyntax.None;
        Token token = tokens.Current;
        if (token.IsOperator("("))
            arguments = ParseArguments();
        else if (StartsOperand(token))
        {
            if (token.IsName("is"))
                throw tokens.Error("You cannot chain multiple tests with is");
            int levels = 0;
            arguments = new CallSyntax([Postfix(Primary(), ref levels)], [], null, null);
            tokens.Leave(levels);
        }
        TestExpr test = new(input, name, arguments, line);
        return negated ? new UnaryExpr("not", test, line) : test;
    }

    private static bool StartsOperand(Token token) => token.Kind switch
    {
        TokenKind.Name => token.Text is not ("else" or "or" or "and"),
        TokenKind.String or TokenKind.Integer or TokenKind.Float => true,
        TokenKind.Operator => token.Text is "[" or "{",
        _ => false,
    };

    private string DottedName()
    {
        string name = tokens.ExpectName().Text;
        while (tokens.SkipOperator("."))
            name += "." + tokens.ExpectName().Text;
        return name;
    }

    private CallSyntax OptionalArguments() => tokens.Current.IsOperator("(") ? ParseArguments() : CallSyntax.None;
}
