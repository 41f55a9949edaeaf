using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

/// <summary>One rendering of a template: runs its statements. The other half of this class evaluates expressions.</summary>
/// <param name="context">The caller's variables and clock.</param>
/// <param name="budget">What the rendering may cost.</param>
internal sealed partial class Interpreter(TemplateContext context, Budget budget)
{
    private StringBuilder _output = new();
    private int _line;

    /// <summary>What follows a statement.</summary>
    private enum Flow
    {
        Next,
        Break,
        Continue,
    }

    public TemplateContext Context => context;

    public Budget Budget => budget;

    /// <exception cref="TemplateException">With the line of the statement that failed.</exception>
    public string Run(List<Stmt> body, FunctionLayout layout, VariableLoad[] scope)
    {
        try
        {
            Activation activation = new(layout.Count, null);
            Open(scope, activation);
            Execute(body, activation);
            return _output.ToString();
        }
        catch (TemplateException e) when (e.Line == 0)
        {
            e.Line = _line;
            throw;
        }
    }

    private void Write(string text)
    {
        budget.CheckChars((long)_output.Length + text.Length);
        budget.SpendChars(text.Length);
        _output.Append(text);
    }

    private void Open(VariableLoad[] scope, Activation activation)
    {
        foreach (VariableLoad load in scope)
        {
            VariableRef variable = new(0, load.Index);
            switch (load.Kind)
            {
                case LoadKind.Resolve:
                    activation[variable] = context.Find(load.Name) ?? Builtins.Globals.Find(load.Name);
                    break;
                case LoadKind.Alias:
                    activation[variable] = activation[load.Source];
                    break;
                case LoadKind.Undefined:
                    activation[variable] = null;
                    break;
            }
        }
    }

    /// <summary>Forgets the variables of a scope; a macro made inside may still see them.</summary>
    private static void Close(VariableLoad[] scope, Activation activation)
    {
        foreach (VariableLoad load in scope)
            activation[new VariableRef(0, load.Index)] = null;
    }

    private Flow Execute(List<Stmt> body, Activation activation)
    {
        foreach (Stmt statement in body)
        {
            Flow flow = Execute(statement, activation);
            if (flow != Flow.Next)
                return flow;
        }
        return Flow.Next;
    }

    private Flow Execute(Stmt statement, Activation activation)
    {
        Budget.EnsureStack();
        budget.Spend();
        _line = statement.Line;
        switch (statement)
        {
            case TextStmt text:
                Write(text.Text);
                return Flow.Next;
            case PrintStmt print:
                Write(Repr.ToText(Evaluate(print.Value, activation), budget));
                return Flow.Next;
            case DoStmt action:
                Evaluate(action.Value, activation);
                return Flow.Next;
            case SetStmt set:
                CheckTargets(set.Target, activation);
                Assign(set.Target, Evaluate(set.Value, activation), activation);
                return Flow.Next;
            case IfStmt condition:
                return ExecuteIf(condition, activation);
            case ForStmt loop:
                return ExecuteFor(loop, activation);
            case SetBlockStmt set:
                return ExecuteSetBlock(set, activation);
            case FilterBlockStmt filter:
                return ExecuteFilterBlock(filter, activation);
            case WithStmt with:
                return ExecuteWith(with, activation);
            case MacroStmt macro:
                activation[macro.Target.Variable] = new MacroValue(macro.Macro, activation);
                return Flow.Next;
            case CallBlockStmt call:
                ExecuteCallBlock(call, activation);
                return Flow.Next;
            default:
                return statement is BreakStmt ? Flow.Break : Flow.Continue;
        }
    }

    private Flow ExecuteIf(IfStmt condition, Activation activation)
    {
        foreach (IfBranch branch in condition.Branches)
        {
            _line = branch.Test.Line;
            if (Evaluate(branch.Test, activation).IsTrue)
                return Execute(branch.Body, activation);
        }
        return Execute(condition.Otherwise, activation);
    }

    private Flow ExecuteSetBlock(SetBlockStmt set, Activation activation)
    {
        Open(set.Scope, activation);
        Flow flow = Capture(set.Body, activation, out string text);
        if (flow != Flow.Next)
            return flow;
        _line = set.Line;
        CheckTargets(set.Target, activation);
        Value value = new StringValue(text);
        if (set.Filter is not null)
            value = Evaluate(set.Filter, activation, value);
        Assign(set.Target, value, activation);
        Close(set.Scope, activation);
        return Flow.Next;
    }

    private Flow ExecuteFilterBlock(FilterBlockStmt filter, Activation activation)
    {
        Open(filter.Scope, activation);
        Flow flow = Capture(filter.Body, activation, out string text);
        if (flow != Flow.Next)
            return flow;
        _line = filter.Line;
        Write(Repr.ToText(Evaluate(filter.Filter, activation, new StringValue(text)), budget));
        Close(filter.Scope, activation);
        return Flow.Next;
    }

    private Flow ExecuteWith(WithStmt with, Activation activation)
    {
        Open(with.Scope, activation);
        foreach ((Expr target, Expr value) in with.Bindings)
            Assign(target, Evaluate(value, activation), activation);
        Flow flow = Execute(with.Body, activation);
        Close(with.Scope, activation);
        return flow;
    }

    private void ExecuteCallBlock(CallBlockStmt call, Activation activation)
    {
        MacroValue caller = new(call.Caller, activation);
        Value result = call.Call is null
            ? CallMacro(caller, Arguments.None)
            : EvaluateCall(call.Call, activation, caller);
        Write(Repr.ToText(result, budget));
    }

    /// <summary>Runs statements and catches what they print.</summary>
    private Flow Capture(List<Stmt> body, Activation activation, out string text)
    {
        StringBuilder outer = _output;
        _output = new StringBuilder();
        Flow flow = Execute(body, activation);
        text = _output.ToString();
        _output = outer;
        return flow;
    }

    private static void CheckTargets(Expr target, Activation activation)
    {
        if (target is NamespaceTarget space && activation[space.Variable] is not NamespaceValue)
            throw new TemplateException("cannot assign attribute on non-namespace object");
        if (target is TupleExpr tuple)
        {
            foreach (Expr item in tuple.Items)
                CheckTargets(item, activation);
        }
    }

    private void Assign(Expr target, Value value, Activation activation)
    {
        switch (target)
        {
            case NameExpr name:
                activation[name.Variable] = value;
                break;
            case NamespaceTarget space:
                ((NamespaceValue)activation[space.Variable]!).Attributes[space.Attribute] = value;
                break;
            case TupleExpr tuple:
                Value[] items = Unpack(value, tuple.Items.Count);
                for (int i = 0; i < items.Length; i++)
                    Assign(tuple.Items[i], items[i], activation);
                break;
        }
    }

    private Value[] Unpack(Value value, int count)
    {
        if (Iteration.TryIterate(value, budget) is not { } walk)
            throw new TemplateException($"cannot unpack non-iterable {value.TypeName} object");
        Value[] items = new Value[count];
        int got = 0;
        while (walk.MoveNext())
        {
            if (got == count)
                throw new TemplateException($"too many values to unpack (expected {count})");
            items[got++] = walk.Current;
        }
        return got == count ? items : throw new TemplateException($"not enough values to unpack (expected {count}, got {got})");
    }
}
