using System.Globalization;
using System.Text;

namespace InferenceService.Text.Templates.Values;

/// <summary>What Python's <c>json.dumps</c> writes; behind the filter <c>tojson</c>.</summary>
/// <param name="ensureAscii">Escape everything beyond ASCII.</param>
/// <param name="indent">Text of one level of indentation, or null for one line.</param>
/// <param name="itemSeparator">Between items.</param>
/// <param name="keySeparator">Between a key and its value.</param>
/// <param name="sortKeys">Entries in order of their keys.</param>
/// <param name="budget">Pays for it.</param>
internal sealed class JsonWriting(bool ensureAscii, string? indent, string itemSeparator, string keySeparator, bool sortKeys, Budget budget)
{
    private readonly StringBuilder _output = new();
    private int _depth;

    public string Write(Value value)
    {
        Append(value);
        return _output.ToString();
    }

    private void Append(Value value)
    {
        int before = _output.Length;
        switch (value)
        {
            case NoneValue:
                _output.Append("null");
                break;
            case BoolValue b:
                _output.Append(b.IsTrue ? "true" : "false");
                break;
            case IntValue i:
                _output.Append(i.Number.ToString(CultureInfo.InvariantCulture));
                break;
            case FloatValue f:
                _output.Append(FloatOf(f.Number));
                break;
            case StringValue text:
                AppendString(text.Text);
                break;
            case SequenceValue sequence:
                AppendList(sequence.Items);
                break;
            case DictValue dict:
                AppendDict(dict);
                break;
            default:
                throw new TemplateException($"Object of type {value.TypeName} is not JSON serializable");
        }
        budget.Spend();
        if (value is not (SequenceValue or DictValue))
            budget.SpendChars(_output.Length - before);
        budget.CheckChars(_output.Length);
    }

    private static string FloatOf(double number) =>
        double.IsFinite(number) ? FloatText.Repr(number) : double.IsNaN(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";

    private void AppendList(Value[] items)
    {
        Budget.EnsureStack();
        if (items.Length == 0)
        {
            _output.Append("[]");
            return;
        }
        _output.Append('[');
        _depth++;
        for (int i = 0; i < items.Length; i++)
        {
            if (i > 0)
                _output.Append(itemSeparator);
            NewLine();
            Append(items[i]);
        }
        _depth--;
        NewLine();
        _output.Append(']');
    }

    private void AppendDict(DictValue dict)
    {
        Budget.EnsureStack();
        if (dict.Entries.Count == 0)
        {
            _output.Append("{}");
            return;
        }
        _output.Append('{');
        _depth++;
        bool first = true;
        foreach ((Value key, Value value) in Ordered(dict))
        {
            if (!first)
                _output.Append(itemSeparator);
            first = false;
            NewLine();
            AppendString(NameOf(key));
            _output.Append(keySeparator);
            Append(value);
        }
        _depth--;
        NewLine();
        _output.Append('}');
    }

    private IEnumerable<KeyValuePair<Value, Value>> Ordered(DictValue dict)
    {
        if (!sortKeys)
            return dict.Entries;
        Value[] keys = [.. dict.Entries.Keys];
        Sorting.Sort(keys, keys, reverse: false, budget);
        return keys.Select(key => KeyValuePair.Create(key, dict.Entries[key]));
    }

    private static string NameOf(Value key) => key switch
    {
        StringValue text => text.Text,
        NoneValue => "null",
        BoolValue b => b.IsTrue ? "true" : "false",
        IntValue i => i.Number.ToString(CultureInfo.InvariantCulture),
        FloatValue f => FloatOf(f.Number),
        _ => throw new TemplateException($"keys must be str, int, float, bool or None, not {key.TypeName}"),
    };

    private void NewLine()
    {
        if (indent is null)
            return;
        budget.MakeChars((long)indent.Length * _depth + 1);
        _output.Append('\n');
        for (int i = 0; i < _depth; i++)
            _output.Append(indent);
    }

    private void AppendString(string text)
    {
        _output.Append('"');
        foreach (char c in text)
        {
            string? escape = c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\f' => "\\f",
                '\b' => "\\b",
                _ => null,
            };
            if (escape is not null)
                _output.Append(escape);
            else if (c < ' ' || (ensureAscii && c > '~'))
                _output.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
            else
                _output.Append(c);
        }
        _output.Append('"');
    }
}
