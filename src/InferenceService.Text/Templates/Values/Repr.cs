using System.Globalization;
using System.Text;

namespace InferenceService.Text.Templates.Values;

/// <summary>Python's <c>str</c> and <c>repr</c>.</summary>
internal sealed class Repr
{
    private readonly StringBuilder _output = new();
    private readonly Budget _budget;

    // The containers being written: a namespace can hold itself.
    private readonly HashSet<Value> _open = new(ReferenceEqualityComparer.Instance);

    private Repr(Budget budget) => _budget = budget;

    /// <summary>What printing the value shows.</summary>
    public static string ToText(Value value, Budget budget) => value switch
    {
        StringValue text => text.Text,
        UndefinedValue => "",
        _ => Of(value, budget),
    };

    public static string Of(Value value, Budget budget)
    {
        Repr repr = new(budget);
        repr.Append(value);
        return repr._output.ToString();
    }

    private void Append(Value value)
    {
        _budget.Spend();
        if (value is SequenceValue or DictValue or DictViewValue or NamespaceValue)
        {
            Budget.EnsureStack();
            if (_open.Add(value))
            {
                AppendContainer(value);
                _open.Remove(value);
            }
            else
                _output.Append(value switch { ListValue => "[...]", TupleValue => "(...)", NamespaceValue => "<Namespace {...}>", _ => "{...}" });
        }
        else
        {
            int before = _output.Length;
            AppendSimple(value);
            _budget.SpendChars(_output.Length - before);
        }
        _budget.CheckChars(_output.Length);
    }

    private void AppendSimple(Value value)
    {
        switch (value)
        {
            case NoneValue:
                _output.Append("None");
                break;
            case BoolValue b:
                _output.Append(b.IsTrue ? "True" : "False");
                break;
            case IntValue i:
                _output.Append(i.Number.ToString(CultureInfo.InvariantCulture));
                break;
            case FloatValue f:
                _output.Append(FloatText.Repr(f.Number));
                break;
            case StringValue text:
                _output.Append(text.IsMarkup ? "Markup(" : "");
                PythonText.AppendLiteral(_output, text.Text);
                _output.Append(text.IsMarkup ? ")" : "");
                break;
            case UndefinedValue:
                _output.Append("Undefined");
                break;
            case RangeValue range:
                _output.Append(CultureInfo.InvariantCulture, $"range({range.Start}, {range.Stop}");
                _output.Append(range.Step == 1 ? ")" : string.Create(CultureInfo.InvariantCulture, $", {range.Step})"));
                break;
            case MacroValue macro:
                _output.Append(macro.Name is null ? "<Macro anonymous>" : $"<Macro '{macro.Name}'>");
                break;
            case LoopValue loop:
                _output.Append(CultureInfo.InvariantCulture, $"<LoopContext {loop.Index0 + 1}/{loop.Length}>");
                break;
            default:
                _output.Append('<').Append(value.TypeName).Append(" object>");
                break;
        }
    }

    private void AppendContainer(Value value)
    {
        switch (value)
        {
            case ListValue list:
                AppendItems("[", list.Items, "]");
                break;
            case TupleValue tuple:
                AppendItems("(", tuple.Items, tuple.Items.Length == 1 ? ",)" : ")");
                break;
            case DictValue dict:
                AppendEntries(dict.Entries);
                break;
            case DictViewValue view:
                AppendItems(view.TypeName + "([", Enumerable.Range(0, view.Source.Entries.Count).Select(view.Item), "])");
                break;
            case NamespaceValue space:
                _output.Append("<Namespace ");
                AppendEntries(space.Attributes.Select(a => KeyValuePair.Create<Value, Value>(new StringValue(a.Key), a.Value)));
                _output.Append('>');
                break;
        }
    }

    private void AppendItems(string open, IEnumerable<Value> items, string close)
    {
        string separator = open;
        foreach (Value item in items)
        {
            _output.Append(separator);
            Append(item);
            separator = ", ";
        }
        _output.Append(ReferenceEquals(separator, open) ? open : "").Append(close);
    }

    private void AppendEntries(IEnumerable<KeyValuePair<Value, Value>> entries)
    {
        string separator = "{";
        foreach ((Value key, Value value) in entries)
        {
            _output.Append(separator);
            Append(key);
            _output.Append(": ");
            Append(value);
            separator = ", ";
        }
        _output.Append(separator == "{" ? "{}" : "}");
    }
}
