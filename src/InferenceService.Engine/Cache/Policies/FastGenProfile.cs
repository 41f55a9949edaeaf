namespace InferenceService.Engine.Cache.Policies;

/// <summary>What one head's attention over a prompt looks like, and how much of it a set of tokens retains. Reused from head to head.</summary>
/// <param name="heads">Query heads that must retain enough each; 0 = their mean must.</param>
internal sealed class FastGenProfile(int heads = 0)
{
    private const int FrequentBit = 4;

    private float[] _columns = [];
    private float[] _bands = [];
    private float[] _headColumns = []; // [heads, tokens]
    private float[] _headBands = [];
    private byte[] _kinds = [];
    private long[] _order = [];
    private int[] _slots = [];
    private int _tokens;
    private double _rows;

    /// <summary>Takes over the sums of a head whose prompt has just ended, so that slot = position.</summary>
    /// <param name="seen">Columns and band.</param>
    /// <param name="lane">Which head.</param>
    /// <param name="rows">Rows that were observed.</param>
    public void Read(in KvObservation seen, int lane, int rows)
    {
        _tokens = seen.PromptTokens;
        _rows = (double)rows * seen.Layout.Readers(OwnerOf(seen.Layout, lane / seen.Layout.KvHeads));
        if (_columns.Length < _tokens)
            (_columns, _bands) = (new float[_tokens], new float[_tokens]);
        if (_kinds.Length < _tokens || _order.Length < _tokens)
            (_kinds, _order) = (new byte[_tokens], new long[_tokens]);
        seen.ColumnSums.Slice(lane * seen.SumStride, _tokens).CopyTo(_columns);
        seen.BandSums.Slice(lane * seen.SumStride, _tokens).CopyTo(_bands);
        if (_headColumns.Length < heads * _tokens)
            (_headColumns, _headBands) = (new float[heads * _tokens], new float[heads * _tokens]);
        int lanes = seen.Layout.OwnerLayers * seen.Layout.KvHeads;
        for (int head = 0; head < heads; head++)
        {
            int row = ((1 + head) * lanes + lane) * seen.SumStride;
            seen.ColumnSums.Slice(row, _tokens).CopyTo(_headColumns.AsSpan(head * _tokens));
            seen.BandSums.Slice(row, _tokens).CopyTo(_headBands.AsSpan(head * _tokens));
        }
    }

    /// <summary>States a token's class: 2 special, 1 punctuation, 0 neither.</summary>
    public void SetClass(int position, int kind) => _kinds[position] = (byte)kind;

    /// <summary>A token's class.</summary>
    public int Class(int position) => _kinds[position] & ~FrequentBit;

    /// <summary>The token is among those <see cref="MarkFrequent"/> marked.</summary>
    public bool IsFrequent(int position) => (_kinds[position] & FrequentBit) != 0;

    /// <summary>Share of attention on tokens of at least that class.</summary>
    public double Retained(int kind) => Retained(kind, withMarked: false, withBand: false);

    /// <summary>Marks the most attended tokens without a class before a position; of equal ones the lower position wins.</summary>
    /// <returns>Tokens marked.</returns>
    public int MarkFrequent(int most, int before)
    {
        int count = 0;
        for (int position = 0; position < _tokens; position++)
        {
            _kinds[position] &= unchecked((byte)~FrequentBit);
            // Sums are not negative, so their bits order like they do.
            if (position < before && _kinds[position] == 0)
                _order[count++] = ((long)(int.MaxValue - BitConverter.SingleToInt32Bits(_columns[position])) << 32) | (uint)position;
        }

        Array.Sort(_order, 0, count);
        count = Math.Min(count, most);
        for (int i = 0; i < count; i++)
            _kinds[(int)_order[i]] |= FrequentBit;
        return count;
    }

    /// <summary>Share of attention on tokens with a class and on marked ones.</summary>
    public double RetainedWithFrequent() => Retained(1, withMarked: true, withBand: false);

    /// <summary>The same, and on those in the window before each row.</summary>
    public double RetainedWithLocal() => Retained(1, withMarked: true, withBand: true);

    /// <summary>Begins a ranking of the slots that a head holds: none is dropped yet.</summary>
    public void Rank(int slots)
    {
        if (_kinds.Length < slots || _order.Length < slots)
            (_kinds, _order) = (new byte[2 * slots], new long[2 * slots]);
        if (_slots.Length < slots)
            _slots = new int[2 * slots];
        _tokens = 0;
        _kinds.AsSpan(0, slots).Clear();
    }

    /// <summary>A slot that must earn its place; of equal sums the lower position wins.</summary>
    public void AddRanked(int slot, int position, float sum)
    {
        _kinds[slot] = FrequentBit;
        _slots[_tokens] = slot;
        _order[_tokens++] = ((long)(int.MaxValue - BitConverter.SingleToInt32Bits(sum)) << 32) | (uint)position;
    }

    /// <summary>All but the most attended of the slots added are dropped.</summary>
    /// <returns>Slots that stay.</returns>
    public int MarkRanked(int most)
    {
        Array.Sort(_order, _slots, 0, _tokens);
        int staying = Math.Min(most, _tokens);
        for (int i = 0; i < staying; i++)
            _kinds[_slots[i]] = 0;
        return staying;
    }

    /// <summary>The slot did not earn its place.</summary>
    public bool IsDropped(int slot) => _kinds[slot] == FrequentBit;

    /// <summary>Of the mean over the heads, or of the head that retains least.</summary>
    private double Retained(int kind, bool withMarked, bool withBand)
    {
        if (heads == 0)
            return Mass(_columns, _bands, kind, withMarked, withBand) / _rows;
        double least = double.PositiveInfinity;
        for (int head = 0; head < heads; head++)
            least = Math.Min(least, Mass(_headColumns.AsSpan(head * _tokens, _tokens), _headBands.AsSpan(head * _tokens, _tokens), kind, withMarked, withBand));
        return least / _rows;
    }

    private double Mass(ReadOnlySpan<float> columns, ReadOnlySpan<float> bands, int kind, bool withMarked, bool withBand)
    {
        double mass = 0;
        for (int position = 0; position < _tokens; position++)
        {
            bool kept = Class(position) >= kind || (withMarked && IsFrequent(position));
            mass += kept ? columns[position] : withBand ? bands[position] : 0;
        }

        return mass;
    }

    private static int OwnerOf(Models.KvLayout layout, int ownerIndex)
    {
        for (int layer = 0; layer < layout.SourceLayer.Length; layer++)
            if (layout.SourceLayer[layer] == layer && ownerIndex-- == 0)
                return layer;
        throw new ArgumentOutOfRangeException(nameof(ownerIndex));
    }
}
