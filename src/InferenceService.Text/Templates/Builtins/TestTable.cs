using System.Collections.Frozen;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>A test, the right side of <c>is</c>.</summary>
internal delegate bool Test(Interpreter interpreter, Value value, Arguments arguments);

/// <summary>All tests of Jinja2.</summary>
internal static class TestTable
{
    private static readonly FrozenDictionary<string, Test> Table = new Dictionary<string, Test>
    {
        ["defined"] = Simple(v => v is not UndefinedValue),
        ["undefined"] = Simple(v => v is UndefinedValue),
        ["none"] = Simple(v => v is NoneValue),
        ["boolean"] = Simple(v => v is BoolValue),
        ["true"] = Simple(v => ReferenceEquals(v, BoolValue.True)),
        ["false"] = Simple(v => ReferenceEquals(v, BoolValue.False)),
        ["integer"] = Simple(v => v is IntValue),
        ["float"] = Simple(v => v is FloatValue),
        ["number"] = Simple(Numbers.IsNumber),
        ["string"] = Simple(v => v is StringValue),
        ["mapping"] = Simple(v => v is DictValue),
        ["sequence"] = Simple(v => v is SequenceValue or StringValue or DictValue or RangeValue or UndefinedValue),
        ["iterable"] = Simple(Iteration.IsIterable),
        ["callable"] = Simple(v => v is FunctionValue or MacroValue or LoopValue or JoinerValue or UndefinedValue),
        ["escaped"] = Simple(v => v is StringValue { IsMarkup: true }),
        ["odd"] = (i, v, a) => Remainder(i, v, a, "odd", 2, 1),
        ["even"] = (i, v, a) => Remainder(i, v, a, "even", 2, 0),
        ["divisibleby"] = (i, v, a) => IsZero(i, v, a.Bind("divisibleby", 1, "num")[0]!, 0),
        ["lower"] = (i, v, _) => CaseMapping.IsLower(Repr.ToText(v, i.Budget)),
        ["upper"] = (i, v, _) => CaseMapping.IsUpper(Repr.ToText(v, i.Budget)),
        ["sameas"] = (_, v, a) => IsSame(v, a.Bind("sameas", 1, "other")[0]!),
        ["in"] = (i, v, a) => Comparison.Contains(a.Bind("in", 1, "seq")[0]!, v, i.Budget),
        ["filter"] = (_, v, _) => v is StringValue name && FilterTable.Find(name.Text) is not null,
        ["test"] = (_, v, _) => v is StringValue name && Find(name.Text) is not null,
        ["eq"] = Equality(true),
        ["=="] = Equality(true),
        ["equalto"] = Equality(true),
        ["ne"] = Equality(false),
        ["!="] = Equality(false),
        ["lt"] = Order("<"),
        ["<"] = Order("<"),
        ["lessthan"] = Order("<"),
        ["le"] = Order("<="),
        ["<="] = Order("<="),
        ["gt"] = Order(">"),
        [">"] = Order(">"),
        ["greaterthan"] = Order(">"),
        ["ge"] = Order(">="),
        [">="] = Order(">="),
    }.ToFrozenDictionary();

    public static Test? Find(string name) => Table.GetValueOrDefault(name);

    public static string Unknown(string name) => $"No test named {PythonText.Quote(name)}.";

    private static Test Simple(Func<Value, bool> test) => (_, value, arguments) =>
    {
        arguments.Bind("test", 0);
        return test(value);
    };

    private static Test Equality(bool expected) => (interpreter, value, arguments) =>
        Comparison.Equal(value, arguments.Bind("eq", 1, "other")[0]!, interpreter.Budget) == expected;

    private static Test Order(string op) => (interpreter, value, arguments) =>
        Comparison.Ordered(value, arguments.Bind("compare", 1, "other")[0]!, op, interpreter.Budget);

    private static bool Remainder(Interpreter interpreter, Value value, Arguments arguments, string test, int divisor, int expected)
    {
        arguments.Bind(test, 0);
        return IsZero(interpreter, value, new IntValue(divisor), expected);
    }

    private static bool IsZero(Interpreter interpreter, Value value, Value divisor, int expected) =>
        Comparison.Equal(Arithmetic.Binary("%", value, divisor, interpreter.Budget), new IntValue(expected), interpreter.Budget);

    /// <summary>Identity. Small integers and equal literals are one object in Python; for scalars equality of type and value stands in.</summary>
    private static bool IsSame(Value a, Value b) => ReferenceEquals(a, b) || (a, b) switch
    {
        (IntValue x, IntValue y) => x.Number == y.Number,
        (StringValue x, StringValue y) => x.Text == y.Text,
        _ => false,
    };
}
