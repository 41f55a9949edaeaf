using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

internal sealed partial class Interpreter
{
    private Flow ExecuteFor(ForStmt loop, Activation activation)
    {
        Value items = Evaluate(loop.Items, activation);
        if (!loop.IsRecursive)
            return RunLoop(loop, items, activation, activation, 0);
        Write(RunRecursiveLoop(loop, items, activation, 0));
        return Flow.Next;
    }

    /// <summary>The text of a recursive loop; each level is a function of its own.</summary>
    private string RunRecursiveLoop(ForStmt loop, Value items, Activation activation, int depth0)
    {
        budget.Enter();
        StringBuilder outer = _output;
        _output = new StringBuilder();
        RunLoop(loop, items, activation, new Activation(loop.RecursiveLayout!.Count, activation), depth0);
        string text = _output.ToString();
        _output = outer;
        budget.Leave();
        return text;
    }

    /// <param name="outer">The variables around the loop.</param>
    /// <param name="activation">The variables of the loop: the same, unless it is recursive.</param>
    private Flow RunLoop(ForStmt loop, Value items, Activation outer, Activation activation, int depth0)
    {
        IEnumerator<Value> walk = Iteration.Iterate(items, budget);
        if (loop.Filter is not null)
            walk = Filtered(loop, walk, outer);
        LoopValue? state = null;
        if (loop.LoopVariable is not null)
        {
            Func<Value, int, Value>? recurse = loop.IsRecursive
                ? (inner, depth) => new StringValue(RunRecursiveLoop(loop, inner, outer, depth))
                : null;
            state = new LoopValue(loop.Filter is null ? items : null, walk, recurse, depth0);
        }

        // As in Jinja2, a body that never ran to its end (a break or continue in every round) counts as none at all.
        bool isEmpty = true;
        while ((state is null ? walk.MoveNext() ? walk.Current : null : state.Next()) is { } item)
        {
            budget.Spend();
            if (loop.LoopVariable is { } variable)
                activation[variable] = state;
            Assign(loop.Target, item, activation);
            Open(loop.BodyScope, activation);
            Flow end = Execute(loop.Body, activation);
            if (end == Flow.Break)
                break;
            isEmpty &= end == Flow.Continue;
        }
        Close(loop.BodyScope, activation);
        if (!isEmpty || loop.Otherwise.Count == 0)
            return Flow.Next;
        Open(loop.OtherwiseScope, activation);
        Flow flow = Execute(loop.Otherwise, activation);
        Close(loop.OtherwiseScope, activation);
        return flow;
    }

    /// <summary>The items that pass the condition of the loop, each tested when the loop asks for it.</summary>
    private IEnumerator<Value> Filtered(ForStmt loop, IEnumerator<Value> items, Activation outer)
    {
        (Expr target, Expr condition) = loop.Filter!.Value;
        Activation activation = new(loop.FilterLayout!.Count, outer);
        Open(loop.FilterScope, activation);
        while (items.MoveNext())
        {
            Assign(target, items.Current, activation);
            if (Evaluate(condition, activation).IsTrue)
                yield return items.Current;
        }
    }
}
