namespace InferenceService.Text.Templates;

internal abstract class Stmt(int line) : Node(line);

internal sealed class TextStmt(string text, int line) : Stmt(line)
{
    public string Text { get; } = text;
}

internal sealed class PrintStmt(Expr value, int line) : Stmt(line)
{
    public Expr Value { get; } = value;

    public override IEnumerable<Node?> Children => [Value];
}

/// <summary><c>do</c>: evaluates and prints nothing.</summary>
internal sealed class DoStmt(Expr value, int line) : Stmt(line)
{
    public Expr Value { get; } = value;

    public override IEnumerable<Node?> Children => [Value];
}

internal sealed record IfBranch(Expr Test, List<Stmt> Body);

internal sealed class IfStmt(List<IfBranch> branches, List<Stmt> otherwise, int line) : Stmt(line)
{
    public List<IfBranch> Branches { get; } = branches;

    public List<Stmt> Otherwise { get; } = otherwise;

    public override IEnumerable<Node?> Children => [.. Branches.SelectMany(b => b.Body.Prepend<Node>(b.Test)), .. Otherwise];
}

internal sealed class ForStmt(Expr target, Expr items, int line) : Stmt(line)
{
    public Expr Target { get; } = target;

    public Expr Items { get; } = items;

    public List<Stmt> Body { get; init; } = [];

    public List<Stmt> Otherwise { get; init; } = [];

    /// <summary>The condition after <c>if</c>, and the target once more: it runs as a function of its own.</summary>
    public (Expr Target, Expr Condition)? Filter { get; init; }

    public bool IsRecursive { get; init; }

    /// <summary>Where <c>loop</c> lives; none if the body does not read it.</summary>
    public VariableRef? LoopVariable { get; set; }

    public VariableLoad[] BodyScope { get; set; } = [];

    public VariableLoad[] OtherwiseScope { get; set; } = [];

    public VariableLoad[] FilterScope { get; set; } = [];

    /// <summary>Variables of the function that a recursive loop runs in, and of the one that the filter runs in.</summary>
    public FunctionLayout? RecursiveLayout { get; set; }

    public FunctionLayout? FilterLayout { get; set; }

    public override IEnumerable<Node?> Children => [Target, Items, .. Body, .. Otherwise, Filter?.Condition];
}

internal sealed class SetStmt(Expr target, Expr value, int line) : Stmt(line)
{
    public Expr Target { get; } = target;

    public Expr Value { get; } = value;

    public override IEnumerable<Node?> Children => [Target, Value];
}

/// <summary><c>set x</c> ... <c>endset</c>.</summary>
internal sealed class SetBlockStmt(Expr target, FilterExpr? filter, List<Stmt> body, int line) : Stmt(line)
{
    public Expr Target { get; } = target;

    public FilterExpr? Filter { get; } = filter;

    public List<Stmt> Body { get; } = body;

    public VariableLoad[] Scope { get; set; } = [];

    public override IEnumerable<Node?> Children => [Target, Filter, .. Body];
}

internal sealed class FilterBlockStmt(FilterExpr filter, List<Stmt> body, int line) : Stmt(line)
{
    public FilterExpr Filter { get; } = filter;

    public List<Stmt> Body { get; } = body;

    public VariableLoad[] Scope { get; set; } = [];

    public override IEnumerable<Node?> Children => [.. Body, Filter];
}

internal sealed class WithStmt(List<(Expr Target, Expr Value)> bindings, List<Stmt> body, int line) : Stmt(line)
{
    public List<(Expr Target, Expr Value)> Bindings { get; } = bindings;

    public List<Stmt> Body { get; } = body;

    public VariableLoad[] Scope { get; set; } = [];

    public override IEnumerable<Node?> Children => [.. Bindings.Select(b => b.Target), .. Bindings.Select(b => b.Value), .. Body];
}

/// <summary>What a macro and a call block share: parameters and a body that runs as a function.</summary>
internal sealed class MacroBody(string? name, List<NameExpr> parameters, List<Expr> defaults, List<Stmt> body)
{
    /// <summary>Null for a call block.</summary>
    public string? Name { get; } = name;

    public List<NameExpr> Parameters { get; } = parameters;

    /// <summary>Defaults of the last parameters.</summary>
    public List<Expr> Defaults { get; } = defaults;

    public List<Stmt> Body { get; } = body;

    public FunctionLayout Layout { get; set; } = new();

    public VariableLoad[] Scope { get; set; } = [];

    // The special parameters; none if the body does not read them.
    public VariableRef? Caller { get; set; }

    public VariableRef? NamedRest { get; set; }

    public VariableRef? PositionalRest { get; set; }

    public IEnumerable<Node?> Children => [.. Parameters, .. Defaults, .. Body];
}

internal sealed class MacroStmt(NameExpr target, MacroBody macro, int line) : Stmt(line)
{
    public NameExpr Target { get; } = target;

    public MacroBody Macro { get; } = macro;

    // The name is not a name node in Jinja2, and so not among its children.
    public override IEnumerable<Node?> Children => Macro.Children;
}

/// <param name="call">The call that gets the body as <c>caller</c>; null for a <c>generation</c> block, whose body is simply printed.</param>
/// <param name="caller">The body.</param>
/// <param name="line">Line of the tag.</param>
internal sealed class CallBlockStmt(CallExpr? call, MacroBody caller, int line) : Stmt(line)
{
    public CallExpr? Call { get; } = call;

    public MacroBody Caller { get; } = caller;

    public override IEnumerable<Node?> Children => [Call, .. Caller.Children];
}

internal sealed class BreakStmt(int line) : Stmt(line);

internal sealed class ContinueStmt(int line) : Stmt(line);
