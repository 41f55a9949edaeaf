using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>The attributes of each type: methods bound to their object, and a few plain attributes.</summary>
internal static class Methods
{
    private static readonly string[] ListChanges = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
    private static readonly string[] DictChanges = ["clear", "pop", "popitem", "setdefault", "update"];

    /// <summary>Whether the sandbox refuses the method because it would change its object.</summary>
    public static bool Changes(Value target, string name) => target switch
    {
        ListValue => ListChanges.Contains(name),
        DictValue => DictChanges.Contains(name),
        _ => false,
    };

    /// <summary>The attribute, or null.</summary>
    public static Value? Find(Value target, string name) => target switch
    {
        StringValue text => StringMethods.Find(text, name),
        DictValue dict => DictMethods.Find(dict, name),
        SequenceValue sequence => OfSequence(sequence, name),
        LoopValue loop => OfLoop(loop, name),
        RangeValue range => OfRange(range, name),
        IntValue or BoolValue or FloatValue => OfNumber(target, name),
        CyclerValue cycler => OfCycler(cycler, name),
        MacroValue macro => OfMacro(macro, name),
        _ => null,
    };

    private static Value? OfSequence(SequenceValue sequence, string name)
    {
        if (sequence is TupleValue { Names: { } names } && Array.IndexOf(names, name) is >= 0 and int field)
            return sequence.Items[field];
        return name switch
        {
            "count" => Count(sequence),
            "index" => new FunctionValue(name, (i, a) => Index(sequence, a.Bind("index", 1, "value", "start", "stop"), i.Budget)),
            "copy" when sequence is ListValue => new FunctionValue(name, (_, a) =>
            {
                a.Bind("copy", 0);
                return sequence;
            }),
            _ => null,
        };
    }

    private static FunctionValue Count(Value sequence) => new("count", (i, a) =>
    {
        Value item = a.Bind("count", 1, "value")[0]!;
        return new IntValue(Iteration.ToArray(sequence, i.Budget).Count(x => Comparison.Equal(x, item, i.Budget)));
    });

    private static IntValue Index(SequenceValue sequence, Value?[] arguments, Budget budget)
    {
        int length = sequence.Items.Length;
        int start = StringMethods.Position(arguments.ElementAtOrDefault(1), 0, length);
        int stop = StringMethods.Position(arguments.ElementAtOrDefault(2), length, length);
        for (int i = start; i < stop; i++)
        {
            if (Comparison.Equal(sequence.Items[i], arguments[0]!, budget))
                return new IntValue(i);
        }
        throw new TemplateException($"value is not in {sequence.TypeName}");
    }

    private static Value? OfLoop(LoopValue loop, string name) => name switch
    {
        "index" => new IntValue(loop.Index0 + 1),
        "index0" => new IntValue(loop.Index0),
        "first" => BoolValue.From(loop.First),
        "last" => BoolValue.From(loop.Last),
        "length" => new IntValue(loop.Length),
        "revindex" => new IntValue(loop.Length - loop.Index0),
        "revindex0" => new IntValue(loop.Length - loop.Index0 - 1),
        "depth" => new IntValue(loop.Depth0 + 1),
        "depth0" => new IntValue(loop.Depth0),
        "previtem" => loop.PreviousItem,
        "nextitem" => loop.NextItem,
        "cycle" => new FunctionValue(name, (_, a) => loop.Cycle(a.Positional)),
        "changed" => new FunctionValue(name, (i, a) => BoolValue.From(loop.Changed(a.Positional, i.Budget))),
        _ => null,
    };

    private static Value? OfRange(RangeValue range, string name) => name switch
    {
        "count" => Count(range),
        "index" => new FunctionValue(name, (i, a) =>
            Index(new ListValue(Iteration.ToArray(range, i.Budget)), a.Bind("index", 1, "value"), i.Budget)),
        "start" => new IntValue(range.Start),
        "stop" => new IntValue(range.Stop),
        "step" => new IntValue(range.Step),
        _ => null,
    };

    private static Value? OfNumber(Value number, string name) => name switch
    {
        "real" => Arithmetic.Positive(number),
        "imag" => number is FloatValue ? new FloatValue(0) : IntValue.Zero,
        "numerator" when number is not FloatValue => Arithmetic.Positive(number),
        "denominator" when number is not FloatValue => new IntValue(1),
        "bit_length" when number is not FloatValue => new FunctionValue(name, (_, a) =>
        {
            a.Bind(name, 0);
            return new IntValue(System.Numerics.BigInteger.Abs(Numbers.ToInteger(number)).GetBitLength());
        }),
        "is_integer" when number is FloatValue f => new FunctionValue(name, (_, a) =>
        {
            a.Bind(name, 0);
            return BoolValue.From(Math.Floor(f.Number) == f.Number && double.IsFinite(f.Number));
        }),
        _ => null,
    };

    private static Value? OfCycler(CyclerValue cycler, string name) => name switch
    {
        "current" => cycler.Current,
        "next" => new FunctionValue(name, (_, a) =>
        {
            a.Bind(name, 0);
            return cycler.Next();
        }),
        "reset" => new FunctionValue(name, (_, a) =>
        {
            a.Bind(name, 0);
            cycler.Reset();
            return NoneValue.Instance;
        }),
        _ => null,
    };

    private static Value? OfMacro(MacroValue macro, string name) => name switch
    {
        "name" => macro.Name is null ? NoneValue.Instance : new StringValue(macro.Name),
        "arguments" => new TupleValue([.. macro.Body.Parameters.Select(p => new StringValue(p.Name))]),
        "catch_kwargs" => BoolValue.From(macro.Body.NamedRest is not null),
        "catch_varargs" => BoolValue.From(macro.Body.PositionalRest is not null),
        "caller" => BoolValue.From(macro.Body.Caller is not null),
        _ => null,
    };
}
