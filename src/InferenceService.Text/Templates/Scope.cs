namespace InferenceService.Text.Templates;

/// <summary>
/// The names of one scope while the resolver works. Jinja2 decides when it compiles, not when it runs, which variable a name
/// means; the rules here are those of its symbol tracking: a name that is assigned anywhere in a scope belongs to that scope,
/// and what it holds before the assignment depends on where it was first mentioned.
/// </summary>
internal sealed class Scope
{
    private readonly Scope? _parent;
    private readonly Scope? _original;
    private readonly int _level;
    private readonly Dictionary<string, Variable> _names = [];
    private readonly OrderedDictionary<Variable, (LoadKind Kind, Variable Source, string Name)> _loads = [];
    private readonly HashSet<string> _stores = [];

    /// <param name="parent">The surrounding scope.</param>
    /// <param name="function">The function whose variables hold this scope's; another one than the parent's opens a function.</param>
    public Scope(Scope? parent, FunctionLayout function)
    {
        _parent = parent;
        _level = parent is null ? 0 : parent._level + 1;
        Function = function;
        FunctionDepth = parent is null ? 0 : parent.FunctionDepth + (ReferenceEquals(parent.Function, function) ? 0 : 1);
    }

    /// <summary>One branch of an <c>if</c>: what it learns stands before what the original knows.</summary>
    private Scope(Scope original)
    {
        _original = original;
        _parent = original._parent;
        _level = original._level;
        Function = original.Function;
        FunctionDepth = original.FunctionDepth;
    }

    public FunctionLayout Function { get; }

    private int FunctionDepth { get; }

    /// <summary>The variable a name means here. A name that no scope knows is one of the caller's or a global.</summary>
    public VariableRef Reference(string name)
    {
        Load(name);
        return Reference(Find(name)!.Value);
    }

    /// <summary>The name is read.</summary>
    public void Load(string name)
    {
        if (Find(name) is null)
            Define(name, LoadKind.Resolve, default);
    }

    /// <summary>The name is assigned.</summary>
    public void Store(string name)
    {
        _stores.Add(name);
        if (FindHere(name) is not null)
            return;
        if (_parent?.Find(name) is { } outer)
            Define(name, LoadKind.Alias, outer);
        else
            Define(name, LoadKind.Undefined, default);
    }

    /// <summary>The name is bound from outside: a parameter, a loop's target.</summary>
    public VariableRef Declare(string name)
    {
        _stores.Add(name);
        return Reference(Define(name, LoadKind.Parameter, default));
    }

    /// <summary>A scope in which one branch of an <c>if</c> is tracked.</summary>
    public Scope Branch() => new(this);

    /// <summary>Takes over what the branches of an <c>if</c> did. A name that only some of them assign keeps its outer value in the others.</summary>
    public void Merge(params ReadOnlySpan<Scope> branches)
    {
        HashSet<string> stored = [];
        foreach (Scope branch in branches)
            stored.UnionWith(branch._stores);
        stored.RemoveWhere(IsStored);
        foreach (Scope branch in branches)
        {
            foreach ((string name, Variable variable) in branch._names)
                _names[name] = variable;
            foreach ((Variable variable, (LoadKind, Variable, string) load) in branch._loads)
                _loads[variable] = load;
            _stores.UnionWith(branch._stores);
        }
        foreach (string name in stored)
        {
            _loads[Find(name)!.Value] = _parent?.Find(name) is { } outer
                ? (LoadKind.Alias, outer, name)
                : (LoadKind.Resolve, default, name);
        }
    }

    /// <summary>What opening this scope has to do.</summary>
    public VariableLoad[] Loads() =>
        [.. _loads.Select(l => new VariableLoad(
            l.Value.Kind,
            l.Key.Index,
            l.Value.Name,
            l.Value.Kind == LoadKind.Alias ? Reference(l.Value.Source) : default))];

    private Variable Define(string name, LoadKind kind, Variable source)
    {
        Variable variable = new(FunctionDepth, Function.IndexOf(_level, name));
        _names[name] = variable;
        _loads[variable] = (kind, source, name);
        return variable;
    }

    private Variable? Find(string name)
    {
        for (Scope? scope = this; scope is not null; scope = scope._parent)
        {
            if (scope.FindHere(name) is { } variable)
                return variable;
        }
        return null;
    }

    /// <summary>The name in this scope itself, as its branches see it.</summary>
    private Variable? FindHere(string name)
    {
        for (Scope? scope = this; scope is not null; scope = scope._original)
        {
            if (scope._names.TryGetValue(name, out Variable variable))
                return variable;
        }
        return null;
    }

    private bool IsStored(string name)
    {
        for (Scope? scope = this; scope is not null; scope = scope._original)
        {
            if (scope._stores.Contains(name))
                return true;
        }
        return false;
    }

    private VariableRef Reference(Variable variable) => new(FunctionDepth - variable.FunctionDepth, variable.Index);

    /// <summary>A variable by the nesting of its function; from inside one scope only one function of each depth is visible.</summary>
    private readonly record struct Variable(int FunctionDepth, int Index);
}
