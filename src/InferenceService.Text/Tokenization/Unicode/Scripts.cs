namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>The Script property of Unicode (UAX #24), read once from the embedded table.</summary>
internal sealed class Scripts
{
    /// <summary>What <see cref="Of"/> returns for code points without a script.</summary>
    public const int None = -1;

    private readonly Dictionary<string, int> _indexes = new(StringComparer.OrdinalIgnoreCase);
    private readonly int[] _firsts;
    private readonly int[] _lasts;
    private readonly int[] _scripts;

    private Scripts()
    {
        TableReader table = TableReader.Open("scripts.bin");
        for (int count = table.Number(), i = 0; i < count; i++)
            _indexes[table.Text()] = table.Number();
        int ranges = table.Number();
        _firsts = new int[ranges];
        _lasts = new int[ranges];
        _scripts = new int[ranges];
        for (int i = 0, next = 0; i < ranges; i++)
        {
            _firsts[i] = next + table.Number();
            next = _firsts[i] + table.Number();
            _lasts[i] = next - 1;
            _scripts[i] = table.Number();
        }
    }

    public static Scripts Instance { get; } = new();

    /// <summary>The script's number, or <see cref="None"/>.</summary>
    public int Of(int codePoint)
    {
        int at = Array.BinarySearch(_firsts, codePoint);
        if (at < 0)
            at = ~at - 1;
        return at >= 0 && codePoint <= _lasts[at] ? _scripts[at] : None;
    }

    /// <summary>The number of a script by its name without separators ("Han", "OldItalic") or its four-letter code, in any case.</summary>
    public bool TryGetIndex(string name, out int index) => _indexes.TryGetValue(name, out index);

    /// <summary>All ranges of one script.</summary>
    public CodePointSet Members(int script)
    {
        var set = new CodePointSet();
        for (int i = 0; i < _scripts.Length; i++)
        {
            if (_scripts[i] == script)
                set.Add(_firsts[i], _lasts[i]);
        }

        return set.Settle();
    }
}
