using System.Text;
using System.Text.Json;
using InferenceService.Fuzz.Loop;

namespace InferenceService.Fuzz.Mutation;

/// <summary>Changes that keep JSON mostly JSON: values, members and names change places, vanish, come twice.</summary>
internal sealed class JsonEdits
{
    private readonly List<Node> _nodes = [];
    private readonly List<Node> _others = [];
    private readonly List<int> _open = [];
    private readonly List<byte[]> _names = [];
    private readonly HashSet<string> _known = new(StringComparer.Ordinal);

    /// <summary>A value, with the name before it when it is a member.</summary>
    private readonly record struct Node(int Start, int End, int NameStart, int NameEnd, int Parent, JsonTokenType Kind)
    {
        public int Outer => NameStart < 0 ? Start : NameStart;
    }

    /// <summary>Learns the names of members, to put them elsewhere.</summary>
    public void Learn(ReadOnlySpan<byte> json)
    {
        if (!Find(json, _others))
            return;
        foreach (Node node in _others)
        {
            if (node.NameStart >= 0 && _names.Count < 1024 && _known.Add(Encoding.UTF8.GetString(json[node.NameStart..node.NameEnd])))
                _names.Add(json[node.NameStart..node.NameEnd].ToArray());
        }
    }

    /// <summary>One change to the JSON between two places; false when that is no JSON.</summary>
    public bool TryApply(List<byte> bytes, int from, int to, ReadOnlySpan<byte> other, IReadOnlyList<byte[]> words, Chance chance)
    {
        byte[] json = [.. bytes.GetRange(from, to - from)];
        if (!Find(json, _nodes) || _nodes.Count == 0)
            return false;
        Node node = _nodes[chance.Below(_nodes.Count)];
        switch (chance.Below(10))
        {
            case 0 or 1:
                Replace(node.Start, node.End, Encoding.UTF8.GetBytes(chance.Of<string>(Interesting.Json)));
                break;
            case 2 when Find(other, _others) && _others.Count > 0:
                Node foreign = _others[chance.Below(_others.Count)];
                Replace(node.Start, node.End, other[foreign.Start..foreign.End]);
                break;
            case 3:
                Remove(node);
                break;
            case 4 when node.Parent >= 0:
                Replace(node.End, node.End, [(byte)',', .. json[node.Outer..node.End]]);
                break;
            case 5:
                Node second = _nodes[chance.Below(_nodes.Count)];
                Swap(node, second);
                break;
            case 6:
                bool list = chance.OneIn(2);
                Replace(node.Start, node.End, list ? [(byte)'[', .. json[node.Start..node.End], (byte)']'] : [.. "{\"a\":"u8, .. json[node.Start..node.End], (byte)'}']);
                break;
            case 7 when node.NameStart >= 0 && _names.Count > 0:
                Replace(node.NameStart, node.NameEnd, _names[chance.Below(_names.Count)]);
                break;
            case 8 when node.Kind == JsonTokenType.StartObject && _names.Count > 0:
                byte[] value = Encoding.UTF8.GetBytes(chance.Of<string>(Interesting.Json));
                bool empty = json.AsSpan(node.Start + 1, node.End - node.Start - 2).Trim(" \n\r\t"u8).IsEmpty;
                Replace(node.Start + 1, node.Start + 1, [.. _names[chance.Below(_names.Count)], (byte)':', .. value, .. empty ? [] : ","u8]);
                break;
            default:
                if (words.Count > 0)
                    Replace(node.Start, node.End, [(byte)'"', .. words[chance.Below(words.Count)], (byte)'"']);
                break;
        }

        return true;

        void Replace(int start, int end, ReadOnlySpan<byte> by)
        {
            bytes.RemoveRange(from + start, end - start);
            bytes.InsertRange(from + start, by);
        }

        void Remove(Node gone)
        {
            int start = gone.Outer, end = gone.End;
            while (end < json.Length && json[end] is (byte)' ' or (byte)'\n')
                end++;
            if (end < json.Length && json[end] == ',')
            {
                end++;
            }
            else
            {
                int before = start - 1;
                while (before >= 0 && json[before] is (byte)' ' or (byte)'\n')
                    before--;
                start = before >= 0 && json[before] == ',' ? before : start;
            }

            Replace(start, end, []);
        }

        void Swap(Node a, Node b)
        {
            if (a.Start > b.Start)
                (a, b) = (b, a);
            if (a.End > b.Start)
                return;
            Replace(b.Start, b.End, json.AsSpan(a.Start, a.End - a.Start));
            Replace(a.Start, a.End, json.AsSpan(b.Start, b.End - b.Start));
        }
    }

    private bool Find(ReadOnlySpan<byte> json, List<Node> nodes)
    {
        nodes.Clear();
        _open.Clear();
        int nameStart = -1, nameEnd = -1;
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 256 });
            while (reader.Read())
            {
                int start = (int)reader.TokenStartIndex, end = (int)reader.BytesConsumed;
                switch (reader.TokenType)
                {
                    case JsonTokenType.PropertyName:
                        (nameStart, nameEnd) = (start, start + reader.ValueSpan.Length + 2);
                        continue;
                    case JsonTokenType.EndArray or JsonTokenType.EndObject:
                        nodes[_open[^1]] = nodes[_open[^1]] with { End = end };
                        _open.RemoveAt(_open.Count - 1);
                        break;
                    default:
                        nodes.Add(new Node(start, end, nameStart, nameEnd, _open.Count > 0 ? _open[^1] : -1, reader.TokenType));
                        if (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.StartObject)
                            _open.Add(nodes.Count - 1);
                        break;
                }

                nameStart = -1;
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
