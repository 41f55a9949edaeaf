namespace InferenceService.Text.Templates;

/// <summary>Binds every name of a parsed template to a variable, every filter and test to its function, and checks break, continue and <c>loop</c>.</summary>
internal sealed class Resolver
{
    // How many loops surround the current node, in all and within its function.
    private int _loops;
    private int _loopsOfFunction;

    /// <summary>Resolves a template; returns its variables and how they start.</summary>
    public static (FunctionLayout Layout, VariableLoad[] Scope) Resolve(List<Stmt> body)
    {
        FunctionLayout layout = new();
        Scope scope = new(null, layout);
        SymbolVisitor.VisitAll(body, scope);
        new Resolver().Bind(body, scope, soft: false);
        return (layout, scope.Loads());
    }

    /// <param name="soft">Inside an <c>if</c>, where an unknown filter is an error only when it is reached.</param>
    private void Bind(List<Stmt> body, Scope scope, bool soft)
    {
        foreach (Stmt statement in body)
            Bind(statement, scope, soft);
    }

    private void Bind(Stmt statement, Scope scope, bool soft)
    {
        switch (statement)
        {
            case PrintStmt print:
                Bind(print.Value, scope, soft);
                break;
            case DoStmt action:
                Bind(action.Value, scope, soft);
                break;
            case SetStmt set:
                Bind(set.Value, scope, soft);
                Bind(set.Target, scope, soft);
                break;
            case IfStmt condition:
                foreach (IfBranch branch in condition.Branches)
                {
                    Bind(branch.Test, scope, soft: true);
                    Bind(branch.Body, scope, soft: true);
                }
                Bind(condition.Otherwise, scope, soft: true);
                break;
            case ForStmt loop:
                BindFor(loop, scope, soft);
                break;
            case SetBlockStmt set:
                Scope setScope = new(scope, scope.Function);
                SymbolVisitor.VisitAll(set.Body, setScope);
                Bind(set.Body, setScope, soft: false);
                Bind(set.Filter, setScope, soft: false);
                Bind(set.Target, scope, soft);
                set.Scope = setScope.Loads();
                break;
            case FilterBlockStmt filter:
                Scope filterScope = new(scope, scope.Function);
                SymbolVisitor.VisitAll(filter.Body, filterScope);
                SymbolVisitor.Visit(filter.Filter, filterScope);
                Bind(filter.Body, filterScope, soft: false);
                Bind(filter.Filter, filterScope, soft: false);
                filter.Scope = filterScope.Loads();
                break;
            case WithStmt with:
                BindWith(with, scope, soft);
                break;
            case MacroStmt macro:
                BindMacro(macro.Macro, scope, macro.Line);
                Bind(macro.Target, scope, soft);
                break;
            case CallBlockStmt call:
                BindMacro(call.Caller, scope, call.Line);
                Bind(call.Call, scope, soft);
                break;
            case BreakStmt or ContinueStmt when _loopsOfFunction == 0:
                throw new TemplateException($"'{(statement is BreakStmt ? "break" : "continue")}' outside loop", statement.Line);
        }
    }

    private void BindFor(ForStmt loop, Scope scope, bool soft)
    {
        loop.RecursiveLayout = loop.IsRecursive ? new FunctionLayout() : null;
        Scope bodyScope = new(scope, loop.RecursiveLayout ?? scope.Function);
        Scope otherwiseScope = new(scope, bodyScope.Function);
        if (loop.IsRecursive || Undeclared(loop.Body, "loop").Count > 0)
            loop.LoopVariable = bodyScope.Declare("loop");
        SymbolVisitor.DeclareAll(loop.Target, bodyScope);
        SymbolVisitor.VisitAll(loop.Body, bodyScope);
        SymbolVisitor.VisitAll(loop.Otherwise, otherwiseScope);

        Bind(loop.Items, scope, soft);
        int outer = _loopsOfFunction;
        _loops++;
        _loopsOfFunction = loop.IsRecursive ? 1 : outer + 1;
        Bind(loop.Target, bodyScope, soft: false);
        Bind(loop.Body, bodyScope, soft: false);
        _loopsOfFunction = loop.IsRecursive ? 0 : outer;
        Bind(loop.Otherwise, otherwiseScope, soft: false);
        _loopsOfFunction = outer;
        if (loop.Filter is { } filter)
        {
            loop.FilterLayout = new FunctionLayout();
            Scope filterScope = new(scope, loop.FilterLayout);
            SymbolVisitor.DeclareAll(filter.Target, filterScope);
            SymbolVisitor.Visit(filter.Condition, filterScope);
            Bind(filter.Target, filterScope, soft: false);
            Bind(filter.Condition, filterScope, soft: false);
            loop.FilterScope = filterScope.Loads();
        }
        _loops--;
        loop.BodyScope = bodyScope.Loads();
        loop.OtherwiseScope = otherwiseScope.Loads();
    }

    private void BindWith(WithStmt with, Scope scope, bool soft)
    {
        Scope inner = new(scope, scope.Function);
        foreach ((Expr target, _) in with.Bindings)
            SymbolVisitor.DeclareAll(target, inner);
        SymbolVisitor.VisitAll(with.Body, inner);
        foreach ((Expr target, Expr value) in with.Bindings)
        {
            Bind(value, scope, soft);
            Bind(target, inner, soft: false);
        }
        Bind(with.Body, inner, soft: false);
        with.Scope = inner.Loads();
    }

    private void BindMacro(MacroBody macro, Scope scope, int line)
    {
        Scope inner = new(scope, macro.Layout);
        foreach (NameExpr parameter in macro.Parameters)
            inner.Declare(parameter.Name);
        foreach (Expr value in macro.Defaults)
            SymbolVisitor.Visit(value, inner);
        SymbolVisitor.VisitAll(macro.Body, inner);

        HashSet<string> special = Undeclared(macro.Body, "caller", "kwargs", "varargs");
        int caller = macro.Parameters.FindIndex(p => p.Name == "caller");
        if (caller >= 0 && caller < macro.Parameters.Count - macro.Defaults.Count && special.Contains("caller"))
            throw new TemplateException("the parameter 'caller' of a macro must have a default", line);
        macro.Caller = Special("caller");
        macro.NamedRest = Special("kwargs");
        macro.PositionalRest = Special("varargs");

        int outer = _loopsOfFunction;
        _loopsOfFunction = 0;
        foreach (NameExpr parameter in macro.Parameters)
            Bind(parameter, inner, soft: false);
        foreach (Expr value in macro.Defaults)
            Bind(value, inner, soft: false);
        Bind(macro.Body, inner, soft: false);
        _loopsOfFunction = outer;
        macro.Scope = inner.Loads();

        VariableRef? Special(string name) =>
            special.Contains(name) && macro.Parameters.TrueForAll(p => p.Name != name) ? inner.Declare(name) : null;
    }

    private void Bind(Expr? expression, Scope scope, bool soft)
    {
        switch (expression)
        {
            case null:
                return;
            case NameExpr name:
                if (name is { Use: NameUse.Store, Name: "loop" } && _loops > 0)
                    throw new TemplateException("Can't assign to special loop variable in for-loop target", name.Line);
                name.Variable = scope.Reference(name.Name);
                return;
            case NamespaceTarget target:
                target.Variable = scope.Reference(target.Name);
                return;
            case FilterExpr filter:
                filter.Filter = Builtins.FilterTable.Find(filter.Name);
                if (filter.Filter is null && !soft)
                    throw new TemplateException(Builtins.FilterTable.Unknown(filter.Name), filter.Line);
                break;
            case TestExpr test:
                test.Test = Builtins.TestTable.Find(test.Name);
                if (test.Test is null && !soft)
                    throw new TemplateException(Builtins.TestTable.Unknown(test.Name), test.Line);
                break;
            case ConditionExpr:
                soft = true;
                break;
        }
        foreach (Node? child in expression.Children)
            Bind((Expr?)child, scope, soft);
    }

    /// <summary>Which of these names the nodes read before they assign them.</summary>
    private static HashSet<string> Undeclared(IEnumerable<Node> nodes, params string[] names)
    {
        HashSet<string> open = [.. names];
        HashSet<string> found = [];
        foreach (Node node in nodes)
            Visit(node);
        return found;

        void Visit(Node? node)
        {
            if (node is null || found.Count == names.Length)
                return;
            if (node is NameExpr name)
            {
                if (name.Use == NameUse.Load && open.Contains(name.Name))
                    found.Add(name.Name);
                else
                    open.Remove(name.Name);
            }
            foreach (Node? child in node.Children)
                Visit(child);
        }
    }
}
