using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>The methods of a dict that do not change it, and the functions that make one.</summary>
internal static class DictMethods
{
    public static Value? Find(DictValue dict, string name) => name switch
    {
        "get" => new FunctionValue(name, (i, a) =>
        {
            Value?[] bound = a.Bind("get", 1, "key", "default");
            return dict.Find(bound[0]!, i.Budget) ?? bound[1] ?? NoneValue.Instance;
        }),
        "items" => View(dict, name, DictViewKind.Items),
        "keys" => View(dict, name, DictViewKind.Keys),
        "values" => View(dict, name, DictViewKind.Values),
        "copy" => new FunctionValue(name, (_, a) =>
        {
            a.Bind("copy", 0);
            return dict;
        }),
        _ => null,
    };

    /// <summary><c>dict(...)</c>: of a dict or of pairs, and of named arguments.</summary>
    public static DictValue Make(Interpreter interpreter, Arguments arguments, string function)
    {
        DictValue dict = new();
        if (arguments.Positional.Length > 1)
            throw new TemplateException($"{function} expected at most 1 argument, got {arguments.Positional.Length}");
        if (arguments.Positional is [DictValue source])
        {
            foreach ((Value key, Value value) in source.Entries)
                dict.Set(key, value, interpreter.Budget);
        }
        else if (arguments.Positional is [Value pairs])
        {
            foreach (Value pair in Iteration.ToArray(pairs, interpreter.Budget))
            {
                Value[] parts = Iteration.ToArray(pair, interpreter.Budget);
                if (parts.Length != 2)
                    throw new TemplateException($"dictionary update sequence element has length {parts.Length}; 2 is required");
                dict.Set(parts[0], parts[1], interpreter.Budget);
            }
        }
        foreach ((string name, Value value) in arguments.Named)
            dict.Set(new StringValue(name), value, interpreter.Budget);
        return dict;
    }

    private static FunctionValue View(DictValue dict, string name, DictViewKind kind) => new(name, (_, a) =>
    {
        a.Bind(name, 0);
        return new DictViewValue(dict, kind);
    });
}
