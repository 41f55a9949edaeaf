using System.Collections.Frozen;
using System.Numerics;
using InferenceService.Text.Templates.Formatting;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>The functions every template can call. A variable of the caller hides the global of its name.</summary>
internal static class Globals
{
    private static readonly FrozenDictionary<string, FunctionValue> Table = new FunctionValue[]
    {
        new("range", Range),
        new("dict", (interpreter, arguments) => DictMethods.Make(interpreter, arguments, "dict")),
        new("namespace", MakeNamespace),
        new("cycler", (_, a) => a.Positional.Length > 0 && a.Named.Length == 0
            ? new CyclerValue(a.Positional)
            : throw new TemplateException("at least one item has to be provided")),
        new("joiner", (_, a) => new JoinerValue(a.Bind("joiner", 0, "sep")[0] ?? new StringValue(", "))),
        new("raise_exception", RaiseException),
        new("strftime_now", (interpreter, a) => new StringValue(TimeFormat.Apply(
            StringMethods.Text(a.Bind("strftime_now", 1, "format")[0]!, "strftime() argument 1").Text,
            interpreter.Context.Time.GetLocalNow().DateTime,
            interpreter.Budget))),
        new("lipsum", (_, _) => throw new TemplateException("lipsum() is not available: a prompt must not be random")),
    }.ToFrozenDictionary(f => f.Name);

    public static Value? Find(string name) => Table.GetValueOrDefault(name);

    private static RangeValue Range(Interpreter interpreter, Arguments arguments)
    {
        if (arguments.Named.Length > 0)
            throw new TemplateException("range() takes no keyword arguments");
        if (arguments.Positional.Length is 0 or > 3)
            throw new TemplateException($"range expected 1 to 3 arguments, got {arguments.Positional.Length}");
        BigInteger[] numbers = [.. arguments.Positional.Select(Integer)];
        BigInteger start = numbers.Length == 1 ? 0 : numbers[0];
        BigInteger stop = numbers.Length == 1 ? numbers[0] : numbers[1];
        BigInteger step = numbers.Length == 3 ? numbers[2] : 1;
        if (step.IsZero)
            throw new TemplateException("range() arg 3 must not be zero");
        if (RangeValue.CountOf(start, stop, step) > RangeValue.MaxLength)
            throw new TemplateException($"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({RangeValue.MaxLength}).");
        if (numbers.Any(n => BigInteger.Abs(n) > int.MaxValue))
            throw new TemplateException("a number of range() does not fit 32 bits");
        return new RangeValue((long)start, (long)stop, (long)step);
    }

    private static BigInteger Integer(Value value) => value switch
    {
        UndefinedValue undefined => throw undefined.Error(),
        _ when Numbers.IsInteger(value) => Numbers.ToInteger(value),
        _ => throw new TemplateException($"'{value.TypeName}' object cannot be interpreted as an integer"),
    };

    private static NamespaceValue MakeNamespace(Interpreter interpreter, Arguments arguments)
    {
        NamespaceValue space = new();
        foreach ((Value key, Value value) in DictMethods.Make(interpreter, arguments, "namespace").Entries)
        {
            if (key is StringValue name)
                space.Attributes[name.Text] = value;
        }
        return space;
    }

    private static Value RaiseException(Interpreter interpreter, Arguments arguments)
    {
        Value message = arguments.Bind("raise_exception", 1, "message")[0]!;
        throw new TemplateException(Repr.ToText(message, interpreter.Budget), raisedByTemplate: true);
    }
}
