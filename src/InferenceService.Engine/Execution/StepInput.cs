using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Execution;

/// <summary>The inputs of one forward pass, on the host while they are packed and on the device afterwards.</summary>
internal sealed class StepInput
{
    private readonly IBackend _backend;
    private readonly int _groups;
    private readonly int[] _ids;
    private readonly int[] _positions;
    private readonly int[] _logitRows;
    private readonly int[] _groupRows;
    private readonly int[] _rowStarts;
    private readonly int[] _sequenceRows;
    private readonly int[] _observed;
    private readonly Tensor _deviceGroups;
    private readonly Tensor _deviceRowStarts;
    private readonly Tensor _deviceSequenceRows;
    private readonly Tensor _deviceObserved;
    private int[] _tables;
    private Tensor _deviceTables;
    private int _sequences;
    private int _rows;
    private int _logits;
    private int _entries;
    private int _maxRows;

    /// <summary>Buffers for the largest step.</summary>
    public StepInput(IBackend backend, int groups, int maxSequences, int maxRows, int maxLogitRows)
    {
        const int firstEntries = 4096;
        (_backend, _groups) = (backend, groups);
        (_ids, _positions, _logitRows) = (new int[maxRows], new int[maxRows], new int[maxLogitRows]);
        _groupRows = new int[maxSequences * groups * KvBatch.GroupFields];
        _rowStarts = new int[maxSequences + 1];
        _sequenceRows = new int[maxSequences];
        _observed = new int[maxSequences * AttentionProbe.ObservedFields];
        _tables = new int[firstEntries];
        _deviceGroups = backend.Allocate(DType.I32, maxSequences * groups, KvBatch.GroupFields);
        _deviceRowStarts = backend.Allocate(DType.I32, 1, maxSequences + 1);
        _deviceSequenceRows = backend.Allocate(DType.I32, 1, maxSequences);
        _deviceObserved = backend.Allocate(DType.I32, maxSequences, AttentionProbe.ObservedFields);
        _deviceTables = backend.Allocate(DType.I32, 1, firstEntries);
    }

    /// <summary>[rows] token ids.</summary>
    public ReadOnlySpan<int> TokenIds => _ids.AsSpan(0, _rows);

    /// <summary>[rows] positions.</summary>
    public ReadOnlySpan<int> Positions => _positions.AsSpan(0, _rows);

    /// <summary>Rows whose logits are wanted.</summary>
    public ReadOnlySpan<int> LogitRows => _logitRows.AsSpan(0, _logits);

    /// <summary>i32 [1, sequences] first row of each sequence in the sums; −1 = not observed.</summary>
    public Tensor SequenceRows => _deviceSequenceRows.ColumnRange(0, _sequences);

    /// <summary>i32 [sequences, 5]: what each sequence wants observed.</summary>
    public Tensor ObservedRows => _deviceObserved.RowRange(0, _sequences);

    /// <summary>At least one sequence is observed.</summary>
    public bool Observed { get; private set; }

    /// <summary>Tables of the step, as kernels see them.</summary>
    public KvBatch Kv(Tensor pool, KvBlockFormat format) => new(
        pool, format, _sequences, _groups, _deviceGroups.RowRange(0, _sequences * _groups), _deviceTables.ColumnRange(0, _entries),
        _deviceRowStarts.ColumnRange(0, _sequences + 1), _maxRows);

    /// <summary>Starts a new step.</summary>
    public void Clear() => (_sequences, _rows, _logits, _entries, _maxRows, Observed) = (0, 0, 0, 0, 0, false);

    /// <summary>Adds a token range of one sequence.</summary>
    /// <param name="tokens">Its ids.</param>
    /// <param name="position">Position of the first.</param>
    /// <param name="logitRows">Last rows whose logits are wanted.</param>
    /// <param name="cache">Tables that already cover the range.</param>
    /// <returns>Row in the logits of the first wanted one.</returns>
    public int Add(ReadOnlySpan<int> tokens, int position, int logitRows, SequenceCache cache)
    {
        tokens.CopyTo(_ids.AsSpan(_rows));
        for (int i = 0; i < tokens.Length; i++)
            _positions[_rows + i] = position + i;
        int firstLogit = _logits;
        for (int i = tokens.Length - logitRows; i < tokens.Length; i++)
            _logitRows[_logits++] = _rows + i;

        for (int group = 0; group < _groups; group++)
            AddTable(group, cache.Tables[group]);
        _sequenceRows[_sequences] = cache.SumRow;
        _observed[_sequences * AttentionProbe.ObservedFields] = (int)(cache.SumRow >= 0 ? AttentionSums.Columns : AttentionSums.None); // from slot 0
        Observed |= cache.SumRow >= 0;
        _rows += tokens.Length;
        _maxRows = Math.Max(_maxRows, tokens.Length);
        _rowStarts[++_sequences] = _rows;
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
        Upload(_sequenceRows, _sequences, _deviceSequenceRows);
        Upload(_observed, _sequences * AttentionProbe.ObservedFields, _deviceObserved);
    }

    private void AddTable(int group, in BlockTable table)
    {
        Span<int> row = _groupRows.AsSpan((_sequences * _groups + group) * KvBatch.GroupFields, KvBatch.GroupFields);
        (row[0], row[1], row[2], row[3]) = (_entries, table.Length, table.GapStart, table.GapLength);
        (row[4], row[5]) = (0, 0); // no sinks, no window
        if (_tables.Length < _entries + table.Count)
            Array.Resize(ref _tables, Math.Max(_entries + table.Count, 2 * _tables.Length));
        table.Blocks.CopyTo(_tables.AsSpan(_entries));
        _entries += table.Count;
    }

    private void Upload(int[] host, int count, Tensor device) => _backend.Upload(MemoryMarshal.AsBytes(host.AsSpan(0, count)), device);
}
