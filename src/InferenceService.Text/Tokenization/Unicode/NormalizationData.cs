namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>Combining classes, decompositions and compositions of Unicode (UAX #15), read once from the embedded table.</summary>
internal sealed class NormalizationData
{
    private const int PageShift = 8;
    private const int PageSize = 1 << PageShift;

    private readonly byte[]?[] _classPages = new byte[]?[0x110000 >> PageShift];
    private readonly byte[]?[] _flagPages = new byte[]?[0x110000 >> PageShift];
    private readonly Dictionary<int, int[]> _canonical = [];
    private readonly Dictionary<int, int[]> _compatibility = [];
    private readonly Dictionary<long, int> _compositions = [];

    private NormalizationData()
    {
        TableReader table = TableReader.Open("normalization.bin");
        for (int count = table.Number(), next = 0; count > 0; count--)
        {
            int first = next + table.Number();
            int length = table.Number();
            byte combiningClass = (byte)table.Number();
            for (int c = first; c < first + length; c++)
                Set(_classPages, c, combiningClass);
            next = first + length;
        }

        ReadDecompositions(ref table);
        MarkUnstable();
    }

    public static NormalizationData Instance { get; } = new();

    /// <summary>Canonical combining class; 0 for starters.</summary>
    public int CombiningClass(int codePoint) => Get(_classPages, codePoint);

    /// <summary>False when the code point may change, or be reordered or composed away, under <paramref name="form"/>.</summary>
    public bool IsStable(int codePoint, UnicodeForm form) => (Get(_flagPages, codePoint) & (1 << (int)form)) == 0;

    /// <summary>The full (recursive) decomposition, or an empty span when the code point stands for itself. Hangul is not in the
    /// table.</summary>
    public ReadOnlySpan<int> Decomposition(int codePoint, bool compatibility) =>
        (compatibility ? _compatibility : _canonical).TryGetValue(codePoint, out int[]? mapping) ? mapping : [];

    /// <summary>The primary composite of a pair, or -1.</summary>
    public int Composition(int first, int second) =>
        _compositions.TryGetValue(((long)first << 32) | (uint)second, out int composite) ? composite : -1;

    private void ReadDecompositions(ref TableReader table)
    {
        var direct = new Dictionary<int, (bool Compatibility, int[] Mapping)>();
        for (int count = table.Number(), next = 0; count > 0; count--)
        {
            int codePoint = next + table.Number();
            int flags = table.Number();
            int[] mapping = new int[table.Number()];
            for (int i = 0; i < mapping.Length; i++)
                mapping[i] = table.Number();
            direct[codePoint] = ((flags & 1) != 0, mapping);
            if ((flags & 2) != 0)
                _compositions[((long)mapping[0] << 32) | (uint)mapping[1]] = codePoint;
            next = codePoint + 1;
        }

        var full = new List<int>();
        foreach ((int codePoint, (bool compatibility, int[] _)) in direct)
        {
            if (!compatibility)
            {
                Expand(direct, codePoint, allowCompatibility: false, full);
                _canonical[codePoint] = [.. full];
                full.Clear();
            }

            Expand(direct, codePoint, allowCompatibility: true, full);
            _compatibility[codePoint] = [.. full];
            full.Clear();
        }
    }

    private static void Expand(Dictionary<int, (bool Compatibility, int[] Mapping)> direct, int codePoint, bool allowCompatibility, List<int> full)
    {
        if (!direct.TryGetValue(codePoint, out var entry) || (entry.Compatibility && !allowCompatibility))
        {
            full.Add(codePoint);
            return;
        }

        foreach (int part in entry.Mapping)
            Expand(direct, part, allowCompatibility, full);
    }

    /// <summary>Marks, per form, what the quick check must stop at: anything with a mapping, a combining class, or a partner to
    /// compose with.</summary>
    private void MarkUnstable()
    {
        const byte All = 0b1111;
        const byte Decomposing = (1 << (int)UnicodeForm.Nfd) | (1 << (int)UnicodeForm.Nfkd);
        const byte Composing = (1 << (int)UnicodeForm.Nfc) | (1 << (int)UnicodeForm.Nfkc);
        var composites = new HashSet<int>(_compositions.Values);
        foreach (int c in _compatibility.Keys)
            Mark(c, (1 << (int)UnicodeForm.Nfkc) | (1 << (int)UnicodeForm.Nfkd));
        foreach (int c in _canonical.Keys)
            Mark(c, composites.Contains(c) ? Decomposing : All);
        // A primary composite is stable under NFC, but under NFKC only if its compatibility mapping is no different from its canonical one.
        foreach (int c in composites)
        {
            if (_compatibility[c].AsSpan().SequenceEqual(_canonical[c]))
                Clear(c, 1 << (int)UnicodeForm.Nfkc);
        }

        foreach (long pair in _compositions.Keys)
            Mark((int)pair, Composing);
        for (int c = Hangul.FirstSyllable; c < Hangul.FirstSyllable + Hangul.Syllables; c++)
            Mark(c, Decomposing);
        for (int c = 0x1160; c < 0x1200; c++)
            Mark(c, Composing);
        for (int c = 0; c < 0x110000; c++)
        {
            if (CombiningClass(c) != 0)
                Mark(c, All);
        }
    }

    private void Mark(int codePoint, int flags) => Set(_flagPages, codePoint, (byte)(Get(_flagPages, codePoint) | flags));

    private void Clear(int codePoint, int flags) => Set(_flagPages, codePoint, (byte)(Get(_flagPages, codePoint) & ~flags));

    private static byte Get(byte[]?[] pages, int codePoint)
    {
        byte[]? page = pages[codePoint >> PageShift];
        return page is null ? (byte)0 : page[codePoint & (PageSize - 1)];
    }

    private static void Set(byte[]?[] pages, int codePoint, byte value) =>
        (pages[codePoint >> PageShift] ??= new byte[PageSize])[codePoint & (PageSize - 1)] = value;
}
