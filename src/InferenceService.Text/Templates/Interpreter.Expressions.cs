using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

internal sealed partial class Interpreter
{
    /// <summary>Calls anything that can be called.</summary>
    /// <exception cref="TemplateException">It cannot, or does not take these arguments.</exception>
    public Value Call(Value function, Arguments arguments)
    {
        switch (function)
        {
            case FunctionValue builtIn:
                budget.Spend();
                return builtIn.Body(this, arguments);
            case MacroValue macro:
                return CallMacro(macro, arguments);
            case LoopValue loop:
                return loop.Recurse(arguments.Bind("loop", 1, "iterable")[0]!);
            case JoinerValue joiner:
                arguments.Bind("joiner", 0);
                return joiner.Next();
            case UndefinedValue undefined:
                throw undefined.Error();
            default:
                throw new TemplateException($"'{function.TypeName}' object is not callable");
        }
    }

    private Value Evaluate(Expr expression, Activation activation, Value? blockText = null)
    {
        Budget.EnsureStack();
        budget.Spend();
        switch (expression)
        {
            case ConstExpr constant:
                return constant.Value;
            case NameExpr name:
                return activation[name.Variable] ?? UndefinedValue.OfName(name.Name);
            case AttributeExpr attribute:
                return Access.Attribute(Evaluate(attribute.Target, activation), attribute.Name, budget);
            case ItemExpr item:
                return Access.Item(Evaluate(item.Target, activation), Evaluate(item.Key, activation), budget);
            case SliceExpr slice:
                return EvaluateSlice(slice, activation);
            case CallExpr call:
                return EvaluateCall(call, activation, null);
            case FilterExpr filter:
                Value input = filter.Input is null ? blockText! : Evaluate(filter.Input, activation, blockText);
                if (filter.Filter is null)
                    throw new TemplateException(Builtins.FilterTable.Unknown(filter.Name));
                return filter.Filter(this, input, EvaluateArguments(filter.Arguments, activation, null));
            case TestExpr test:
                Value tested = Evaluate(test.Input, activation);
                if (test.Test is null)
                    throw new TemplateException(Builtins.TestTable.Unknown(test.Name));
                return BoolValue.From(test.Test(this, tested, EvaluateArguments(test.Arguments, activation, null)));
            case BinaryExpr binary:
                return Arithmetic.Binary(
                    binary.Operator, Evaluate(binary.Left, activation), Evaluate(binary.Right, activation), budget);
            case LogicExpr logic:
                Value left = Evaluate(logic.Left, activation);
                return left.IsTrue == logic.IsAnd ? Evaluate(logic.Right, activation) : left;
            case UnaryExpr unary:
                return EvaluateUnary(unary, activation);
            case CompareExpr compare:
                return EvaluateCompare(compare, activation);
            case ConcatExpr concat:
                return EvaluateConcat(concat, activation);
            case ConditionExpr condition:
                return EvaluateCondition(condition, activation);
            case ListExpr list:
                return new ListValue(EvaluateAll(list.Items, activation));
            case TupleExpr tuple:
                return new TupleValue(EvaluateAll(tuple.Items, activation));
            default:
                return EvaluateDict((DictExpr)expression, activation);
        }
    }

    private Value[] EvaluateAll(List<Expr> expressions, Activation activation)
    {
        if (expressions.Count == 0)
            return [];
        Value[] values = new Value[expressions.Count];
        for (int i = 0; i < values.Length; i++)
            values[i] = Evaluate(expressions[i], activation);
        return values;
    }

    private DictValue EvaluateDict(DictExpr expression, Activation activation)
    {
        DictValue dict = new();
        foreach ((Expr key, Expr value) in expression.Entries)
        {
            Value name = Evaluate(key, activation);
            dict.Set(name, Evaluate(value, activation), budget);
        }
        return dict;
    }

    private Value EvaluateSlice(SliceExpr slice, Activation activation)
    {
        Value target = Evaluate(slice.Target, activation);
        return Access.Slice(target, Part(slice.Start), Part(slice.Stop), Part(slice.Step), budget);

        Value? Part(Expr? expression) => expression is null ? null : Evaluate(expression, activation);
    }

    private Value EvaluateUnary(UnaryExpr unary, Activation activation)
    {
        Value operand = Evaluate(unary.Operand, activation);
        return unary.Operator switch
        {
            "not" => BoolValue.From(!operand.IsTrue),
            "-" => Arithmetic.Negative(operand),
            _ => Arithmetic.Positive(operand),
        };
    }

    private BoolValue EvaluateCompare(CompareExpr compare, Activation activation)
    {
        Value left = Evaluate(compare.First, activation);
        foreach ((string op, Expr operand) in compare.Rest)
        {
            Value right = Evaluate(operand, activation);
            bool holds = op switch
            {
                "==" => Comparison.Equal(left, right, budget),
                "!=" => !Comparison.Equal(left, right, budget),
                "in" => Comparison.Contains(right, left, budget),
                "not in" => !Comparison.Contains(right, left, budget),
                _ => Comparison.Ordered(left, right, op, budget),
            };
            if (!holds)
                return BoolValue.False;
            left = right;
        }
        return BoolValue.True;
    }

    private StringValue EvaluateConcat(ConcatExpr concat, Activation activation)
    {
        StringBuilder text = new();
        foreach (Value part in EvaluateAll(concat.Parts, activation))
        {
            string shown = Repr.ToText(part, budget);
            budget.CheckChars((long)text.Length + shown.Length);
            budget.SpendChars(shown.Length);
            text.Append(shown);
        }
        return new StringValue(text.ToString());
    }

    private Value EvaluateCondition(ConditionExpr condition, Activation activation)
    {
        if (Evaluate(condition.Test, activation).IsTrue)
            return Evaluate(condition.Then, activation);
        return condition.Otherwise is not null
            ? Evaluate(condition.Otherwise, activation)
            : new UndefinedValue($"the inline if-expression on line {condition.Line} evaluated to false and no else section was defined.");
    }

    /// <param name="caller">The body of a call block, or null.</param>
    private Value EvaluateCall(CallExpr call, Activation activation, MacroValue? caller)
    {
        Value function = Evaluate(call.Function, activation);
        Arguments arguments = EvaluateArguments(call.Arguments, activation, caller);
        int line = _line;
        Value result = Call(function, arguments);
        _line = line;
        return result;
    }

    private Arguments EvaluateArguments(CallSyntax syntax, Activation activation, MacroValue? caller)
    {
        if (ReferenceEquals(syntax, CallSyntax.None) && caller is null)
            return Arguments.None;
        List<Value> positional = [.. EvaluateAll(syntax.Positional, activation)];
        OrderedDictionary<string, Value> named = [];
        foreach ((string name, Expr value) in syntax.Named)
        {
            if (!named.TryAdd(name, Evaluate(value, activation)))
                throw new TemplateException($"keyword argument repeated: {PythonText.Quote(name)}");
        }
        if (caller is not null)
            named["caller"] = caller;
        if (syntax.Star is not null)
            positional.AddRange(Iteration.ToArray(Evaluate(syntax.Star, activation), budget));
        if (syntax.DoubleStar is not null)
        {
            if (Evaluate(syntax.DoubleStar, activation) is not DictValue rest)
                throw new TemplateException("argument after ** must be a mapping");
            foreach ((Value key, Value value) in rest.Entries)
            {
                if (key is not StringValue name)
                    throw new TemplateException("keywords must be strings");
                if (!named.TryAdd(name.Text, value))
                    throw new TemplateException($"got multiple values for keyword argument {PythonText.Quote(name.Text)}");
            }
        }
        return new Arguments([.. positional], [.. named]);
    }

    private StringValue CallMacro(MacroValue macro, Arguments arguments)
    {
        budget.Enter();
        MacroBody body = macro.Body;
        Activation activation = new(body.Layout.Count, macro.Closure);
        BindParameters(body, activation, arguments);
        Open(body.Scope, activation);
        int firstDefault = body.Parameters.Count - body.Defaults.Count;
        StringBuilder outer = _output;
        _output = new StringBuilder();
        for (int i = 0; i < body.Parameters.Count; i++)
        {
            NameExpr parameter = body.Parameters[i];
            activation[parameter.Variable] ??= i < firstDefault
                ? new UndefinedValue($"parameter '{parameter.Name}' was not provided")
                : Evaluate(body.Defaults[i - firstDefault], activation);
        }
        Execute(body.Body, activation);
        string text = _output.ToString();
        _output = outer;
        budget.Leave();
        return new StringValue(text);
    }

    private static void BindParameters(MacroBody body, Activation activation, Arguments arguments)
    {
        int given = Math.Min(arguments.Positional.Length, body.Parameters.Count);
        for (int i = 0; i < given; i++)
            activation[body.Parameters[i].Variable] = arguments.Positional[i];
        DictValue rest = new();
        foreach ((string name, Value value) in arguments.Named)
        {
            int parameter = body.Parameters.FindIndex(given, p => p.Name == name);
            if (parameter >= 0)
                activation[body.Parameters[parameter].Variable] = value;
            else if (name == "caller" && body.Caller is { } caller)
                activation[caller] = value;
            else
                rest.Entries[new StringValue(name)] = value;
        }
        if (body.Caller is { } missing && activation[missing] is null or NoneValue)
            activation[missing] = new UndefinedValue("No caller defined");
        string shown = body.Name is null ? "None" : $"'{body.Name}'";
        if (body.NamedRest is { } named)
            activation[named] = rest;
        else if (rest.IsTrue)
            throw new TemplateException($"macro {shown} takes no keyword argument {PythonText.Quote(((StringValue)rest.Entries.GetAt(0).Key).Text)}");
        if (body.PositionalRest is { } positional)
            activation[positional] = new TupleValue(arguments.Positional[given..]);
        else if (arguments.Positional.Length > given)
            throw new TemplateException($"macro {shown} takes not more than {body.Parameters.Count} argument(s)");
    }
}
