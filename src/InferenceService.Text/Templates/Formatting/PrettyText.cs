using System.Text;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Formatting;

/// <summary>
/// Python's <c>pprint.pformat</c> at its standard width: one line if it fits 80 columns, otherwise one item a line; keys sorted.
/// Deviation: a string too long for its line is not cut into pieces.
/// </summary>
internal sealed class PrettyText(Budget budget)
{
    private const int Width = 80;
    private readonly StringBuilder _output = new();

    public string Write(Value value)
    {
        Append(Sorted(value), 0, 0);
        return _output.ToString();
    }

    /// <param name="indent">Column where the value begins.</param>
    /// <param name="after">Characters that must follow on its last line.</param>
    private void Append(Value value, int indent, int after)
    {
        Budget.EnsureStack();
        string line = Repr.Of(value, budget);
        budget.CheckChars(_output.Length + (long)line.Length);
        if (line.Length <= Width - indent - after || value is not (DictValue or SequenceValue) || !value.IsTrue)
        {
            _output.Append(line);
            return;
        }
        if (value is DictValue entries)
        {
            _output.Append('{');
            AppendLines(entries.Entries.Count, indent + 1, after + 1, (i, tail) =>
            {
                (Value key, Value item) = entries.Entries.GetAt(i);
                string name = Repr.Of(key, budget);
                _output.Append(name).Append(": ");
                Append(item, indent + 1 + name.Length + 2, tail);
            });
            _output.Append('}');
            return;
        }
        Value[] items = ((SequenceValue)value).Items;
        string close = value is ListValue ? "]" : items.Length == 1 ? ",)" : ")";
        _output.Append(value is ListValue ? '[' : '(');
        AppendLines(items.Length, indent + 1, after + close.Length, (i, tail) => Append(items[i], indent + 1, tail));
        _output.Append(close);
    }

    private void AppendLines(int count, int indent, int after, Action<int, int> append)
    {
        for (int i = 0; i < count; i++)
        {
            if (i > 0)
            {
                budget.MakeChars(indent + 2L);
                _output.Append(",\n").Append(' ', indent);
            }
            append(i, i == count - 1 ? after : 1);
        }
    }

    private Value Sorted(Value value)
    {
        Budget.EnsureStack();
        budget.Spend(4); // each container is made anew
        switch (value)
        {
            case ListValue list:
                return new ListValue([.. list.Items.Select(Sorted)]);
            case TupleValue tuple:
                return new TupleValue([.. tuple.Items.Select(Sorted)]);
            case DictValue dict:
                Value[] keys = [.. dict.Entries.Keys];
                if (keys.All(k => k is StringValue))
                    Sorting.Sort(keys, keys, false, budget);
                DictValue sorted = new();
                foreach (Value key in keys)
                    sorted.Entries[key] = Sorted(dict.Entries[key]);
                return sorted;
            default:
                return value;
        }
    }
}
