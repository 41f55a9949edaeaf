using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Execution;

/// <summary>The inputs of one forward pass, on the host while they are packed and on the device afterwards.</summary>
/// <remarks>
/// What the device gets goes as one block, in one copy: groups, row starts, rows in the sums, what is observed, the same tables for the rows
/// with logits where they are wanted, block tables. Where a part begins follows from the number of sequences alone, so that a decode step padded
/// to a size finds its tensors in the same place every time.
/// </remarks>
internal sealed class StepInput
{
    private readonly IBackend _backend;
    private readonly int _groups;
    private readonly int _blockSize;
    private readonly bool _endsEarly;
    private readonly int[] _ids;
    private readonly int[] _positions;
    private readonly int[] _sinkPositions;
    private readonly int[] _logitRows;
    private readonly int[] _groupRows;
    private readonly int[] _rowStarts;
    private readonly int[] _logitStarts;
    private readonly int[] _sequenceRows;
    private readonly int[] _observed;
    private int[] _tables;
    private int[] _block;
    private Tensor _device;
    private int _sequences;
    private int _rows;
    private int _logits;
    private int _entries;
    private int _maxRows;
    private bool _capped;
    private bool _padded;
    private int _maxLogits;

    /// <summary>Buffers for the largest step.</summary>
    public StepInput(IBackend backend, int groups, int maxSequences, int maxRows, int maxLogitRows, int blockSize, bool endsEarly)
    {
        const int firstEntries = 4096;
        (_backend, _groups, _blockSize, _endsEarly) = (backend, groups, blockSize, endsEarly);
        (_ids, _positions, _logitRows) = (new int[maxRows], new int[maxRows], new int[maxLogitRows]);
        _sinkPositions = new int[maxRows];
        _groupRows = new int[maxSequences * groups * KvBatch.GroupFields];
        _rowStarts = new int[maxSequences + 1];
        _logitStarts = new int[maxSequences + 1];
        _sequenceRows = new int[maxSequences];
        _observed = new int[maxSequences * AttentionProbe.ObservedFields];
        _tables = new int[firstEntries];
        int most = firstEntries + (endsEarly ? 2 : 1) * _groupRows.Length + _rowStarts.Length + _logitStarts.Length + _sequenceRows.Length + _observed.Length;
        _block = new int[most];
        _device = backend.Allocate(DType.I32, 1, most);
    }

    /// <summary>[rows] token ids.</summary>
    public ReadOnlySpan<int> TokenIds => _ids.AsSpan(0, _rows);

    /// <summary>[rows] positions.</summary>
    public ReadOnlySpan<int> Positions => _positions.AsSpan(0, _rows);

    /// <summary>[rows] positions at which queries meet sinks; empty when all stand where they are.</summary>
    public ReadOnlySpan<int> SinkPositions => _capped ? _sinkPositions.AsSpan(0, _rows) : [];

    /// <summary>Rows whose logits are wanted.</summary>
    public ReadOnlySpan<int> LogitRows => _logitRows.AsSpan(0, _logits);

    /// <summary>i32 [1, sequences] first row of each sequence in the sums; −1 = not observed.</summary>
    public Tensor SequenceRows => Part(SequenceRowsAt, 1, _sequences);

    /// <summary>i32 [sequences, 5]: what each sequence wants observed.</summary>
    public Tensor ObservedRows => Part(ObservedAt, _sequences, AttentionProbe.ObservedFields);

    /// <summary>Sums that at least one sequence wants.</summary>
    public AttentionSums Wanted { get; private set; }

    /// <summary>One row a sequence, and every row has logits.</summary>
    public bool IsDecode => _maxRows == 1 && _logits == _rows;

    /// <summary>Tables of the step, as kernels see them.</summary>
    public KvBatch Kv(Tensor pool, KvBlockFormat format) => new(
        pool, format, _sequences, _groups, Part(0, _sequences * _groups, KvBatch.GroupFields), Part(TablesAt, 1, _padded ? _device.Columns - TablesAt : _entries),
        Part(StartsAt, 1, _sequences + 1), _maxRows);

    /// <summary>The same tables for the rows with logits alone; null when all have some, or when the model has no use for it.</summary>
    /// <param name="kv">What <see cref="Kv"/> gave.</param>
    public KvBatch? LogitKv(in KvBatch kv) => !HasLogitTables ? null : kv with
    {
        Groups = Part(LogitGroupsAt, _sequences * _groups, KvBatch.GroupFields),
        RowStarts = Part(LogitStartsAt, 1, _sequences + 1),
        MaxRows = _maxLogits,
    };

    private int GroupWords => _sequences * _groups * KvBatch.GroupFields;

    private int StartsAt => GroupWords;

    private int SequenceRowsAt => StartsAt + _sequences + 1;

    private int ObservedAt => SequenceRowsAt + _sequences;

    private int LogitGroupsAt => ObservedAt + _sequences * AttentionProbe.ObservedFields;

    private int LogitStartsAt => LogitGroupsAt + (HasLogitTables ? GroupWords : 0);

    private int TablesAt => LogitStartsAt + (HasLogitTables ? _sequences + 1 : 0);

    private bool HasLogitTables => _endsEarly && _logits < _rows;

    /// <summary>Starts a new step.</summary>
    public void Clear() =>
        (_sequences, _rows, _logits, _entries, _maxRows, _maxLogits, Wanted, _capped, _padded) = (0, 0, 0, 0, 0, 0, AttentionSums.None, false, false);

    /// <summary>
    /// Adds rows that belong to nobody until the step, in which every sequence has one row, has so many; its tensors then depend on that number
    /// alone. Nothing can be added afterwards.
    /// </summary>
    public void Pad(int rows)
    {
        int own = _rows;
        for (; _rows < rows; _rows++)
        {
            (_ids[_rows], _positions[_rows], _sinkPositions[_rows], _logitRows[_logits++]) = (0, 0, 0, _rows);
            _sequenceRows[_sequences] = -1;
            _rowStarts[++_sequences] = own;
            _logitStarts[_sequences] = own;
            _observed.AsSpan((_sequences - 1) * AttentionProbe.ObservedFields, AttentionProbe.ObservedFields).Clear();
        }

        (_maxRows, _maxLogits, _padded) = (1, 1, true);
    }

    /// <summary>Adds a token range of one sequence.</summary>
    /// <param name="tokens">Its ids.</param>
    /// <param name="position">Position of the first.</param>
    /// <param name="logitRows">Last rows whose logits are wanted.</param>
    /// <param name="cache">Tables that already cover the range; its watch says what is observed.</param>
    /// <param name="mask">What its rows see.</param>
    /// <returns>Row in the logits of the first wanted one.</returns>
    public int Add(ReadOnlySpan<int> tokens, int position, int logitRows, SequenceCache cache, KvMask mask)
    {
        tokens.CopyTo(_ids.AsSpan(_rows));
        for (int i = 0; i < tokens.Length; i++)
            _positions[_rows + i] = position + i;
        int firstLogit = _logits;
        for (int i = tokens.Length - logitRows; i < tokens.Length; i++)
            _logitRows[_logits++] = _rows + i;

        for (int group = 0; group < _groups; group++)
            AddTable(group, cache, tokens.Length, mask);
        AddWatch(cache);
        AddSinkPositions(position, tokens.Length, mask);
        _rows += tokens.Length;
        _maxRows = Math.Max(_maxRows, tokens.Length);
        _maxLogits = Math.Max(_maxLogits, logitRows);
        _rowStarts[++_sequences] = _rows;
        _logitStarts[_sequences] = _logits;
        return firstLogit;
    }

    /// <summary>Copies everything to the device.</summary>
    public void Upload()
    {
        int words = TablesAt + _entries;
        if (_block.Length < words)
        {
            int[] larger = new int[Math.Max(words, 2 * _block.Length)];
            _device = _backend.Allocate(DType.I32, 1, larger.Length); // refused, all stays as it was
            _block = larger;
        }

        _groupRows.AsSpan(0, GroupWords).CopyTo(_block);
        _rowStarts.AsSpan(0, _sequences + 1).CopyTo(_block.AsSpan(StartsAt));
        _sequenceRows.AsSpan(0, _sequences).CopyTo(_block.AsSpan(SequenceRowsAt));
        _observed.AsSpan(0, _sequences * AttentionProbe.ObservedFields).CopyTo(_block.AsSpan(ObservedAt));
        if (HasLogitTables)
            AddLogitTables();
        _tables.AsSpan(0, _entries).CopyTo(_block.AsSpan(TablesAt));
        _backend.Upload(MemoryMarshal.AsBytes(_block.AsSpan(0, words)), _device);
    }

    /// <summary>To the rows with logits, which are a sequence's last, the rows before them are part of the cache.</summary>
    private void AddLogitTables()
    {
        Span<int> groupRows = _block.AsSpan(LogitGroupsAt, GroupWords);
        _groupRows.AsSpan(0, GroupWords).CopyTo(groupRows);
        for (int s = 0; s < _sequences; s++)
        {
            int before = _rowStarts[s + 1] - _rowStarts[s] - (_logitStarts[s + 1] - _logitStarts[s]);
            for (int group = s * _groups; group < (s + 1) * _groups; group++)
                groupRows[group * KvBatch.GroupFields + 1] += before;
        }

        _logitStarts.AsSpan(0, _sequences + 1).CopyTo(_block.AsSpan(LogitStartsAt));
    }

    private void AddWatch(SequenceCache cache)
    {
        KvWatch watch = cache.Watch;
        AttentionSums wanted = cache.SumRow >= 0 ? watch.Sums : AttentionSums.None;
        _sequenceRows[_sequences] = wanted == AttentionSums.None ? -1 : cache.SumRow;
        Span<int> observed = _observed.AsSpan(_sequences * AttentionProbe.ObservedFields, AttentionProbe.ObservedFields);
        (observed[0], observed[1], observed[2], observed[3], observed[4]) =
            ((int)wanted, watch.FirstSlot, watch.Band, watch.SinkEnd, watch.RecentStart);
        Wanted |= wanted;
    }

    private void AddSinkPositions(int position, int tokens, KvMask mask)
    {
        int cap = mask.IsNone || mask.SinkPositionCap == 0 ? int.MaxValue : mask.SinkPositionCap;
        bool isCapped = position + tokens - 1 > cap;
        if (!isCapped && !_capped)
            return; // most steps: nobody reads them
        if (!_capped)
            _positions.AsSpan(0, _rows).CopyTo(_sinkPositions); // the rows before this one's stand where they are
        _capped = true;
        for (int i = 0; i < tokens; i++)
            _sinkPositions[_rows + i] = Math.Min(position + i, cap);
    }

    private void AddTable(int group, SequenceCache cache, int tokens, KvMask mask)
    {
        ref readonly BlockTable table = ref cache.Tables[group];
        // What was given back keeps its slot numbers, so that the order of sums, and with it the last bit, does not depend on when that was.
        // Sums are kept by the slots that are left: while some are watched, these count.
        int absent = table.HasOneHole && (cache.SumRow < 0 || cache.Watch.Sums == AttentionSums.None) ? table.HoleBlocks : 0;
        int hole = absent * _blockSize, length = table.Length + hole;
        Span<int> row = _groupRows.AsSpan((_sequences * _groups + group) * KvBatch.GroupFields, KvBatch.GroupFields);
        (row[0], row[1], row[3], row[6]) = (_entries, length, table.GapLength + hole, absent);
        row[2] = table.GapLength > 0 || absent == 0 ? table.GapStart : table.HoleStart * _blockSize;
        // A mask that hides nothing yet costs nothing.
        bool hides = !mask.IsNone && (long)length + tokens > (long)mask.Sinks + mask.Window;
        (row[4], row[5]) = hides ? (mask.Sinks, mask.Window) : (0, 0);
        if (_tables.Length < _entries + table.Count)
            Array.Resize(ref _tables, Math.Max(_entries + table.Count, 2 * _tables.Length));
        table.Blocks.CopyTo(_tables.AsSpan(_entries));
        _entries += table.Count;
    }

    private Tensor Part(int start, int rows, int columns) => Tensor.Dense(_device.Buffer, _device.Offset + start * sizeof(int), DType.I32, rows, columns);
}
