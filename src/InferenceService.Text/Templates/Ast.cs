using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

// The tree of a template. The parser makes it, the resolver binds its names to variables once, and then nothing changes it:
// many threads may walk it. Each node yields its children in the order in which Jinja2 visits them.

internal abstract class Node(int line)
{
    public int Line { get; } = line;

    public virtual IEnumerable<Node?> Children => [];
}

internal abstract class Expr(int line) : Node(line);

internal sealed class ConstExpr(Value value, int line) : Expr(line)
{
    public Value Value { get; } = value;
}

internal enum NameUse
{
    Load,
    Store,
    Parameter,
}

internal sealed class NameExpr(string name, int line) : Expr(line)
{
    public string Name { get; } = name;

    public NameUse Use { get; set; }

    public VariableRef Variable { get; set; }
}

/// <summary>Left side of <c>set ns.attribute = ...</c>.</summary>
internal sealed class NamespaceTarget(string name, string attribute, int line) : Expr(line)
{
    public string Name { get; } = name;

    public string Attribute { get; } = attribute;

    public VariableRef Variable { get; set; }
}

internal sealed class TupleExpr(List<Expr> items, int line) : Expr(line)
{
    public List<Expr> Items { get; } = items;

    public override IEnumerable<Node?> Children => Items;
}

internal sealed class ListExpr(List<Expr> items, int line) : Expr(line)
{
    public List<Expr> Items { get; } = items;

    public override IEnumerable<Node?> Children => Items;
}

internal sealed class DictExpr(List<(Expr Key, Expr Value)> entries, int line) : Expr(line)
{
    public List<(Expr Key, Expr Value)> Entries { get; } = entries;

    public override IEnumerable<Node?> Children => Entries.SelectMany(e => new Node?[] { e.Key, e.Value });
}

internal sealed class ConditionExpr(Expr test, Expr then, Expr? otherwise, int line) : Expr(line)
{
    public Expr Test { get; } = test;

    public Expr Then { get; } = then;

    public Expr? Otherwise { get; } = otherwise;

    public override IEnumerable<Node?> Children => [Test, Then, Otherwise];
}

/// <summary><c>and</c>, <c>or</c>: the value is that of one operand.</summary>
internal sealed class LogicExpr(bool isAnd, Expr left, Expr right, int line) : Expr(line)
{
    public bool IsAnd { get; } = isAnd;

    public Expr Left { get; } = left;

    public Expr Right { get; } = right;

    public override IEnumerable<Node?> Children => [Left, Right];
}

internal sealed class BinaryExpr(string op, Expr left, Expr right, int line) : Expr(line)
{
    public string Operator { get; } = op;

    public Expr Left { get; } = left;

    public Expr Right { get; } = right;

    public override IEnumerable<Node?> Children => [Left, Right];
}

/// <summary><c>not</c>, <c>-</c> or <c>+</c>.</summary>
internal sealed class UnaryExpr(string op, Expr operand, int line) : Expr(line)
{
    public string Operator { get; } = op;

    public Expr Operand { get; } = operand;

    public override IEnumerable<Node?> Children => [Operand];
}

/// <summary>Operands joined by <c>~</c>.</summary>
internal sealed class ConcatExpr(List<Expr> parts, int line) : Expr(line)
{
    public List<Expr> Parts { get; } = parts;

    public override IEnumerable<Node?> Children => Parts;
}

/// <summary>A chain of comparisons: <c>a &lt; b &lt; c</c>, <c>in</c>, <c>not in</c>.</summary>
internal sealed class CompareExpr(Expr first, List<(string Operator, Expr Operand)> rest, int line) : Expr(line)
{
    public Expr First { get; } = first;

    public List<(string Operator, Expr Operand)> Rest { get; } = rest;

    public override IEnumerable<Node?> Children => [First, .. Rest.Select(r => r.Operand)];
}

internal sealed class AttributeExpr(Expr target, string name, int line) : Expr(line)
{
    public Expr Target { get; } = target;

    /// <summary>The name as a key.</summary>
    public StringValue Name { get; } = new(name);

    public override IEnumerable<Node?> Children => [Target];
}

internal sealed class ItemExpr(Expr target, Expr key, int line) : Expr(line)
{
    public Expr Target { get; } = target;

    public Expr Key { get; } = key;

    public override IEnumerable<Node?> Children => [Target, Key];
}

internal sealed class SliceExpr(Expr target, Expr? start, Expr? stop, Expr? step, int line) : Expr(line)
{
    public Expr Target { get; } = target;

    public Expr? Start { get; } = start;

    public Expr? Stop { get; } = stop;

    public Expr? Step { get; } = step;

    public override IEnumerable<Node?> Children => [Target, Start, Stop, Step];
}

/// <summary>The arguments of a call as written.</summary>
internal sealed record CallSyntax(List<Expr> Positional, List<(string Name, Expr Value)> Named, Expr? Star, Expr? DoubleStar)
{
    public static readonly CallSyntax None = new([], [], null, null);

    public IEnumerable<Node?> Children => [.. Positional, .. Named.Select(n => n.Value), Star, DoubleStar];
}

internal sealed class CallExpr(Expr function, CallSyntax arguments, int line) : Expr(line)
{
    public Expr Function { get; } = function;

    public CallSyntax Arguments { get; } = arguments;

    public override IEnumerable<Node?> Children => [Function, .. Arguments.Children];
}

/// <param name="input">What is filtered; null for the innermost filter of a filter block or set block, which gets the block's text.</param>
internal sealed class FilterExpr(Expr? input, string name, CallSyntax arguments, int line) : Expr(line)
{
    public Expr? Input { get; } = input;

    public string Name { get; } = name;

    public CallSyntax Arguments { get; } = arguments;

    /// <summary>Null when no such filter exists, which is an error only if it is reached.</summary>
    public Builtins.Filter? Filter { get; set; }

    public override IEnumerable<Node?> Children => [Input, .. Arguments.Children];
}

internal sealed class TestExpr(Expr input, string name, CallSyntax arguments, int line) : Expr(line)
{
    public Expr Input { get; } = input;

    public string Name { get; } = name;

    public CallSyntax Arguments { get; } = arguments;

    public Builtins.Test? Test { get; set; }

    public override IEnumerable<Node?> Children => [Input, .. Arguments.Children];
}
