namespace InferenceService.Text.Templates;

/// <summary>Where a variable lives, seen from the function that names it.</summary>
/// <param name="Hops">How many functions outward.</param>
/// <param name="Index">Place in that function's variables.</param>
internal readonly record struct VariableRef(int Hops, int Index);

internal enum LoadKind
{
    /// <summary>Bound by whoever opens the scope.</summary>
    Parameter,

    /// <summary>Looked up among the caller's variables and the globals.</summary>
    Resolve,

    /// <summary>Starts with the value of the same name in the surrounding scope.</summary>
    Alias,

    /// <summary>Starts undefined.</summary>
    Undefined,
}

/// <summary>How one variable of a scope gets its first value when the scope opens.</summary>
internal readonly record struct VariableLoad(LoadKind Kind, int Index, string Name, VariableRef Source);

/// <summary>The variables of one function: the template itself, a macro, a call block, a recursive loop, a loop's filter.</summary>
internal sealed class FunctionLayout
{
    private readonly Dictionary<(int Level, string Name), int> _indices = [];

    public int Count => _indices.Count;

    public int IndexOf(int level, string name)
    {
        if (!_indices.TryGetValue((level, name), out int index))
            _indices[(level, name)] = index = _indices.Count;
        return index;
    }
}

/// <summary>One run of a function.</summary>
internal sealed class Activation(int variables, Activation? closure)
{
    private readonly Value?[] _values = new Value?[variables];

    public Value? this[VariableRef variable]
    {
        get => At(variable.Hops)._values[variable.Index];
        set => At(variable.Hops)._values[variable.Index] = value;
    }

    private Activation At(int hops)
    {
        Activation activation = this;
        for (; hops > 0; hops--)
            activation = activation.Parent!;
        return activation;
    }

    private Activation? Parent { get; } = closure;
}
