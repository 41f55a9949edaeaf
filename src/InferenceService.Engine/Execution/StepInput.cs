using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache;
using InferenceService.Engine.Cache.Policies;

namespace InferenceService.Engine.Execution;

/// <summary>The inputs of one forward pass, on the host while they are packed and on the device afterwards.</summary>
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
    private readonly int[] _logitGroupRows;
    private readonly int[] _logitStarts;
    private readonly int[] _sequenceRows;
    private readonly int[] _observed;
    private readonly Tensor _deviceGroups;
    private readonly Tensor _deviceRowStarts;
    private readonly Tensor _deviceLogitGroups;
    private readonly Tensor _deviceLogitStarts;
    private readonly Tensor _deviceSequenceRows;
    private readonly Tensor _deviceObserved;
    private int[] _tables;
    private Tensor _deviceTables;
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
        _logitGroupRows = endsEarly ? new int[_groupRows.Length] : [];
        _logitStarts = new int[maxSequences + 1];
        _sequenceRows = new int[maxSequences];
        _observed = new int[maxSequences * AttentionProbe.ObservedFields];
        _tables = new int[firstEntries];
        _deviceGroups = backend.Allocate(DType.I32, maxSequences * groups, KvBatch.GroupFields);
        _deviceRowStarts = backend.Allocate(DType.I32, 1, maxSequences + 1);
        _deviceLogitGroups = endsEarly ? backend.Allocate(DType.I32, maxSequences * groups, KvBatch.GroupFields) : default;
        _deviceLogitStarts = backend.Allocate(DType.I32, 1, maxSequences + 1);
        _deviceSequenceRows = backend.Allocate(DType.I32, 1, maxSequences);
        _deviceObserved = backend.Allocate(DType.I32, maxSequences, AttentionProbe.ObservedFields);
        _deviceTables = backend.Allocate(DType.I32, 1, firstEntries);
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
    public Tensor SequenceRows => _deviceSequenceRows.ColumnRange(0, _sequences);

    /// <summary>i32 [sequences, 5]: what each sequence wants observed.</summary>
    public Tensor ObservedRows => _deviceObserved.RowRange(0, _sequences);

    /// <summary>Sums that at least one sequence wants.</summary>
    public AttentionSums Wanted { get; private set; }

    /// <summary>One row a sequence, and every row has logits.</summary>
    public bool IsDecode => _maxRows == 1 && _logits == _rows;

    /// <summary>Tables of the step, as kernels see them.</summary>
    public KvBatch Kv(Tensor pool, KvBlockFormat format) => new(
        pool, format, _sequences, _groups, _deviceGroups.RowRange(0, _sequences * _groups), _padded ? _deviceTables : _deviceTables.ColumnRange(0, _entries),
        _deviceRowStarts.ColumnRange(0, _sequences + 1), _maxRows);

    /// <summary>The same tables for the rows with logits alone; null when all have some, or when the model has no use for it.</summary>
    /// <param name="kv">What <see cref="Kv"/> gave.</param>
    public KvBatch? LogitKv(in KvBatch kv) => !_endsEarly || _logits == _rows ? null : kv with
    {
        Groups = _deviceLogitGroups.RowRange(0, _sequences * _groups),
        RowStarts = _deviceLogitStarts.ColumnRange(0, _sequences + 1),
        MaxRows = _maxLogits,
    };

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
        if (_deviceTables.Columns < _tables.Length)
            _deviceTables = _backend.Allocate(DType.I32, 1, _tables.Length);
        Upload(_groupRows, _sequences * _groups * KvBatch.GroupFields, _deviceGroups);
        Upload(_tables, _entries, _deviceTables);
        Upload(_rowStarts, _sequences + 1, _deviceRowStarts);
        if (_endsEarly && _logits < _rows)
            UploadLogitTables();
        Upload(_sequenceRows, _sequences, _deviceSequenceRows);
        Upload(_observed, _sequences * AttentionProbe.ObservedFields, _deviceObserved);
    }

    /// <summary>To the rows with logits, which are a sequence's last, the rows before them are part of the cache.</summary>
    private void UploadLogitTables()
    {
        _groupRows.AsSpan(0, _sequences * _groups * KvBatch.GroupFields).CopyTo(_logitGroupRows);
        for (int s = 0; s < _sequences; s++)
        {
            int before = _rowStarts[s + 1] - _rowStarts[s] - (_logitStarts[s + 1] - _logitStarts[s]);
            for (int group = s * _groups; group < (s + 1) * _groups; group++)
                _logitGroupRows[group * KvBatch.GroupFields + 1] += before;
        }

        Upload(_logitGroupRows, _sequences * _groups * KvBatch.GroupFields, _deviceLogitGroups);
        Upload(_logitStarts, _sequences + 1, _deviceLogitStarts);
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

    private void Upload(int[] host, int count, Tensor device) => _backend.Upload(MemoryMarshal.AsBytes(host.AsSpan(0, count)), device);
}
