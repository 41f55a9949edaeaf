using System.Text;

namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>Reads the embedded tables that <c>tools/unicode/generate.py</c> wrote: LEB128 numbers and short ASCII strings.</summary>
internal ref struct TableReader
{
    private ReadOnlySpan<byte> _rest;

    private TableReader(ReadOnlySpan<byte> data) => _rest = data;

    /// <summary>Opens an embedded resource of this assembly and skips its version string.</summary>
    public static TableReader Open(string resource)
    {
        using Stream stream = typeof(TableReader).Assembly.GetManifestResourceStream(resource)
            ?? throw new InvalidOperationException($"embedded resource {resource} is missing");
        byte[] data = new byte[stream.Length];
        stream.ReadExactly(data);
        var reader = new TableReader(data);
        reader.Text();
        return reader;
    }

    public int Number()
    {
        int value = 0;
        for (int i = 0, shift = 0; ; i++, shift += 7)
        {
            value |= (_rest[i] & 0x7F) << shift;
            if (_rest[i] < 0x80)
            {
                _rest = _rest[(i + 1)..];
                return value;
            }
        }
    }

    /// <summary>A list of ranges, whatever their values.</summary>
    public CodePointSet Ranges()
    {
        var set = new CodePointSet();
        for (int count = Number(), next = 0; count > 0; count--)
        {
            int first = next + Number();
            next = first + Number();
            Number();
            set.Add(first, next - 1);
        }

        return set.Settle();
    }

    public string Text()
    {
        int length = Number();
        string text = Encoding.ASCII.GetString(_rest[..length]);
        _rest = _rest[length..];
        return text;
    }
}
