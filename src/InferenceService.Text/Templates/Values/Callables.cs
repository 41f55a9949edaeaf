namespace InferenceService.Text.Templates.Values;

/// <summary>The body of a function, method or global that this engine provides.</summary>
internal delegate Value BuiltIn(Interpreter interpreter, Arguments arguments);

/// <summary>A function or bound method of this engine.</summary>
internal sealed class FunctionValue(string name, BuiltIn body) : Value
{
    public string Name { get; } = name;

    public BuiltIn Body { get; } = body;

    internal override string TypeName => "builtin_function_or_method";
}

/// <summary>A macro, or the body of a call block, together with the variables that surround it.</summary>
internal sealed class MacroValue(MacroBody body, Activation closure) : Value
{
    public MacroBody Body { get; } = body;

    public Activation Closure { get; } = closure;

    /// <summary>Null for a call block.</summary>
    public string? Name => Body.Name;

    internal override string TypeName => "Macro";
}

/// <summary>What <c>namespace()</c> returns: the one thing whose attributes a template may set.</summary>
/// <remarks>Belongs to one rendering.</remarks>
internal sealed class NamespaceValue : Value
{
    public OrderedDictionary<string, Value> Attributes { get; } = new(StringComparer.Ordinal);

    internal override string TypeName => "Namespace";
}

/// <summary>What <c>cycler()</c> returns.</summary>
internal sealed class CyclerValue(Value[] items) : Value
{
    private int _position;

    internal override string TypeName => "Cycler";

    public Value Current => items[_position];

    public Value Next()
    {
        Value current = Current;
        _position = (_position + 1) % items.Length;
        return current;
    }

    public void Reset() => _position = 0;
}

/// <summary>What <c>joiner()</c> returns: a call gives nothing the first time and the separator after that.</summary>
internal sealed class JoinerValue(Value separator) : Value
{
    private bool _used;

    internal override string TypeName => "Joiner";

    public Value Next()
    {
        if (_used)
            return separator;
        _used = true;
        return StringValue.Empty;
    }
}
