using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Models.Tests;

/// <summary>A paged cache by hand: every sequence owns all its blocks from the start, in shuffled order, poisoned with NaN.</summary>
internal sealed class TestCache
{
    private readonly DecoderModel _model;
    private readonly Tensor _pool;
    private readonly Tensor _groups;
    private readonly Tensor _tables;
    private readonly Tensor _rowStarts;
    private readonly int _blocksEach;
    private readonly int[] _lengths;
    private readonly KvBlockFormat _format;

    public TestCache(DecoderModel model, int sequences, int maxTokens, int blockSize = 16, DType type = DType.F32)
    {
        _model = model;
        _lengths = new int[sequences];
        int groups = sequences * model.Layout.Groups;
        _blocksEach = (maxTokens + blockSize - 1) / blockSize;
        _format = new KvBlockFormat(type, blockSize, model.Config.HeadDim, model.Layout.LanesPerGroup);
        IBackend backend = model.Backend;
        _pool = backend.Allocate(DType.U8, groups * _blocksEach, _format.BlockBytes);
        var poison = new byte[_pool.ByteLength];
        poison.AsSpan().Fill(0xFF);
        backend.Upload(poison, _pool);
        var ids = Enumerable.Range(0, groups * _blocksEach).ToArray();
        new Random(7).Shuffle(ids);
        _tables = backend.Allocate(DType.I32, 1, ids.Length);
        backend.Upload(MemoryMarshal.AsBytes<int>(ids), _tables);
        _groups = backend.Allocate(DType.I32, groups, KvBatch.GroupFields);
        _rowStarts = backend.Allocate(DType.I32, 1, sequences + 1);
    }

    /// <summary>Sinks of every sequence; they matter under a window.</summary>
    public int Sinks { get; init; }

    /// <summary>Slots that a row sees besides the sinks, its own included; 0: all.</summary>
    public int Window { get; init; }

    /// <summary>Queries meet sinks at positions of their own: as if counted inside the cache.</summary>
    public bool CountsInCache { get; init; }

    /// <summary>Tokens that a sequence has in the cache.</summary>
    public int Length(int sequence) => _lengths[sequence];

    /// <summary>Lets the first sequence forget all but its first tokens; their slots keep what they hold.</summary>
    public void Rewind(int length) => _lengths[0] = length;

    /// <summary>Runs new tokens of one sequence, as <see cref="Run(ReadOnlySpan{int}, int[])"/>, with tables for its last <paramref name="wanted"/> rows alone.</summary>
    public float[][] RunEndingEarly(int[] tokens, int wanted)
    {
        KvBatch kv = Batch([tokens]);
        int groups = _model.Layout.Groups;
        int[] rows = new int[groups * KvBatch.GroupFields];
        for (int g = 0; g < groups; g++)
            (rows[KvBatch.GroupFields * g], rows[KvBatch.GroupFields * g + 1]) = (g * _blocksEach, _lengths[0] + tokens.Length - wanted);
        Tensor logitGroups = _model.Backend.Allocate(DType.I32, groups, KvBatch.GroupFields), starts = _model.Backend.Allocate(DType.I32, 1, 2);
        _model.Backend.Upload(MemoryMarshal.AsBytes<int>(rows), logitGroups);
        _model.Backend.Upload(MemoryMarshal.AsBytes<int>([0, wanted]), starts);
        Tensor logits = _model.Forward(new ForwardInput
        {
            TokenIds = tokens,
            Positions = [.. Enumerable.Range(_lengths[0], tokens.Length)],
            LogitRows = [.. Enumerable.Range(tokens.Length - wanted, wanted)],
            Kv = kv,
            LogitKv = kv with { Groups = logitGroups, RowStarts = starts, MaxRows = wanted },
        });
        _lengths[0] += tokens.Length;
        return Rows(_model.Backend, logits);
    }

    /// <summary>Runs new tokens of one sequence; returns logits of the rows asked for (all by default).</summary>
    public float[][] Run(ReadOnlySpan<int> tokens, int[]? logitRows = null) => Run([tokens.ToArray()], logitRows);

    /// <summary>Runs new tokens of every sequence in one step; an empty list leaves a sequence out of it.</summary>
    public float[][] Run(int[][] tokens, int[]? logitRows = null)
    {
        int[] ids = [.. tokens.SelectMany(t => t)];
        int[] positions = [.. tokens.SelectMany((t, s) => Enumerable.Range(_lengths[s], t.Length))];
        int[] wanted = logitRows ?? [.. Enumerable.Range(0, ids.Length)];
        int[] atSinks = CountsInCache ? [.. positions.Select(position => Math.Min(position, Sinks + Window - 1))] : [];
        Tensor logits = _model.Forward(new ForwardInput
        {
            TokenIds = ids,
            Positions = positions,
            SinkPositions = atSinks,
            LogitRows = wanted,
            Kv = Batch(tokens),
        });
        for (int s = 0; s < tokens.Length; s++)
            _lengths[s] += tokens[s].Length;
        return Rows(_model.Backend, logits);
    }

    /// <summary>The tables before a step that brings these tokens.</summary>
    public KvBatch Batch(int[][] tokens)
    {
        int groupsEach = _model.Layout.Groups;
        var rows = new int[tokens.Length * groupsEach * KvBatch.GroupFields];
        var starts = new int[tokens.Length + 1];
        for (int s = 0; s < tokens.Length; s++)
        {
            starts[s + 1] = starts[s] + tokens[s].Length;
            for (int g = 0; g < groupsEach; g++)
            {
                int row = s * groupsEach + g;
                (rows[KvBatch.GroupFields * row], rows[KvBatch.GroupFields * row + 1]) = (row * _blocksEach, _lengths[s]);
                (rows[KvBatch.GroupFields * row + 4], rows[KvBatch.GroupFields * row + 5]) = (Sinks, Window);
            }
        }

        _model.Backend.Upload(MemoryMarshal.AsBytes<int>(rows), _groups);
        _model.Backend.Upload(MemoryMarshal.AsBytes<int>(starts), _rowStarts);
        return new KvBatch(_pool, _format, tokens.Length, groupsEach, _groups, _tables, _rowStarts, tokens.Max(t => t.Length));
    }

    /// <summary>A device matrix as rows.</summary>
    public static float[][] Rows(IBackend backend, Tensor matrix)
    {
        var bytes = new byte[matrix.ByteLength];
        backend.Download(matrix, bytes);
        return [.. MemoryMarshal.Cast<byte, float>(bytes).ToArray().Chunk(Math.Max(1, matrix.Columns))];
    }
}
