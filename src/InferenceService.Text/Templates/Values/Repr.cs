using System.Globalization;
using System.Text;

namespace InferenceService.Text.Templates.Values;

/// <summary>Python's <c>str</c> and <c>repr</c>.</summary>
internal static class Repr
{
    /// <summary>What printing the value shows.</summary>
    public static string ToText(Value value, Budget budget) => value switch
    {
        StringValue text => text.Text,
        UndefinedValue => "",
        _ => Of(value, budget),
    };

    public static string Of(Value value, Budget budget)
    {
        StringBuilder output = new();
        Append(output, value, budget);
        return output.ToString();
    }

    private static void Append(StringBuilder output, Value value, Budget budget)
    {
        int before = output.Length;
        switch (value)
        {
            case NoneValue:
                output.Append("None");
                break;
            case BoolValue b:
                output.Append(b.IsTrue ? "True" : "False");
                break;
            case IntValue i:
                output.Append(i.Number.ToString(CultureInfo.InvariantCulture));
                break;
            case FloatValue f:
                output.Append(FloatText.Repr(f.Number));
                break;
            case StringValue { IsMarkup: true } text:
                output.Append("Markup(");
                PythonText.AppendLiteral(output, text.Text);
                output.Append(')');
                break;
            case StringValue text:
                PythonText.AppendLiteral(output, text.Text);
                break;
            case UndefinedValue:
                output.Append("Undefined");
                break;
            case ListValue list:
                AppendItems(output, '[', list.Items, "]", budget);
                return;
            case TupleValue tuple:
                AppendItems(output, '(', tuple.Items, tuple.Items.Length == 1 ? ",)" : ")", budget);
                return;
            case DictValue dict:
                AppendEntries(output, dict.Entries, budget);
                return;
            case DictViewValue view:
                output.Append(view.TypeName).Append('(');
                AppendItems(output, '[', [.. Enumerable.Range(0, view.Source.Entries.Count).Select(view.Item)], "])", budget);
                return;
            case RangeValue range:
                output.Append(CultureInfo.InvariantCulture, $"range({range.Start}, {range.Stop}");
                output.Append(range.Step == 1 ? ")" : string.Create(CultureInfo.InvariantCulture, $", {range.Step})"));
                break;
            case NamespaceValue space:
                output.Append("<Namespace ");
                AppendEntries(output, space.Attributes.Select(a => KeyValuePair.Create<Value, Value>(new StringValue(a.Key), a.Value)), budget);
                output.Append('>');
                return;
            case MacroValue macro:
                output.Append(macro.Name is null ? "<Macro anonymous>" : $"<Macro '{macro.Name}'>");
                break;
            case LoopValue loop:
                output.Append(CultureInfo.InvariantCulture, $"<LoopContext {loop.Index0 + 1}/{loop.Length}>");
                break;
            default:
                output.Append('<').Append(value.TypeName).Append(" object>");
                break;
        }
        budget.Spend();
        budget.SpendChars(output.Length - before);
        budget.CheckChars(output.Length);
    }

    private static void AppendItems(StringBuilder output, char open, Value[] items, string close, Budget budget)
    {
        Budget.EnsureStack();
        output.Append(open);
        for (int i = 0; i < items.Length; i++)
        {
            if (i > 0)
                output.Append(", ");
            Append(output, items[i], budget);
        }
        output.Append(close);
        budget.CheckChars(output.Length);
    }

    private static void AppendEntries(StringBuilder output, IEnumerable<KeyValuePair<Value, Value>> entries, Budget budget)
    {
        Budget.EnsureStack();
        output.Append('{');
        bool first = true;
        foreach ((Value key, Value value) in entries)
        {
            if (!first)
                output.Append(", ");
            first = false;
            Append(output, key, budget);
            output.Append(": ");
            Append(output, value, budget);
        }
        output.Append('}');
        budget.CheckChars(output.Length);
    }
}
