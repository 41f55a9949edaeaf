namespace InferenceService.Text.Templates;

/// <summary>Tells a scope, in order, which names its own statements read and assign. What opens a scope of its own is not entered.</summary>
internal static class SymbolVisitor
{
    public static void VisitAll(List<Stmt> body, Scope scope)
    {
        foreach (Stmt statement in body)
            Visit(statement, scope);
    }

    /// <summary>Declares the names of a loop's target or of a <c>with</c> as bound from outside.</summary>
    public static void DeclareAll(Expr target, Scope scope)
    {
        if (target is NameExpr name)
            scope.Declare(name.Name);
        foreach (Node? child in target.Children)
            DeclareAll((Expr)child!, scope);
    }

    public static void Visit(Expr? expression, Scope scope)
    {
        switch (expression)
        {
            case null:
                return;
            case NameExpr { Use: NameUse.Load } name:
                scope.Load(name.Name);
                return;
            case NameExpr name:
                scope.Store(name.Name);
                return;
            case NamespaceTarget target:
                scope.Load(target.Name);
                return;
        }
        foreach (Node? child in expression.Children)
            Visit((Expr?)child, scope);
    }

    private static void Visit(Stmt statement, Scope scope)
    {
        switch (statement)
        {
            case PrintStmt print:
                Visit(print.Value, scope);
                break;
            case DoStmt action:
                Visit(action.Value, scope);
                break;
            case SetStmt set:
                Visit(set.Value, scope);
                Visit(set.Target, scope);
                break;
            case SetBlockStmt set:
                Visit(set.Target, scope);
                break;
            case IfStmt condition:
                VisitIf(condition, scope);
                break;
            case ForStmt loop:
                Visit(loop.Items, scope);
                break;
            case FilterBlockStmt filter:
                Visit(filter.Filter, scope);
                break;
            case WithStmt with:
                foreach ((_, Expr value) in with.Bindings)
                    Visit(value, scope);
                break;
            case MacroStmt macro:
                scope.Store(macro.Target.Name);
                break;
            case CallBlockStmt call:
                Visit(call.Call, scope);
                break;
        }
    }

    private static void VisitIf(IfStmt condition, Scope scope)
    {
        Visit(condition.Branches[0].Test, scope);
        Scope body = scope.Branch();
        VisitAll(condition.Branches[0].Body, body);

        // The elif branches share one copy, and each is merged into it like an if of its own.
        Scope rest = scope.Branch();
        foreach (IfBranch branch in condition.Branches.Skip(1))
        {
            Visit(branch.Test, rest);
            Scope inner = rest.Branch();
            VisitAll(branch.Body, inner);
            rest.Merge(inner);
        }
        Scope otherwise = scope.Branch();
        VisitAll(condition.Otherwise, otherwise);
        scope.Merge(body, rest, otherwise);
    }
}
