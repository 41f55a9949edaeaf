using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Tests;

/// <summary>The oracle: one sequence, one contiguous run of blocks, one token a step, no engine.</summary>
internal sealed class NaiveDecoder
{
    private readonly DecoderModel _model;
    private readonly KvBlockFormat _format;
    private readonly Tensor _pool;
    private readonly Tensor _groups;
    private readonly Tensor _tables;
    private readonly Tensor _rowStarts;

    public NaiveDecoder(DecoderModel model, int maxTokens)
    {
        _model = model;
        _format = new KvBlockFormat(DType.F32, maxTokens, model.Config.HeadDim, model.Layout.LanesPerGroup);
        int groups = model.Layout.Groups;
        _pool = model.Backend.Allocate(DType.U8, groups, _format.BlockBytes);
        _groups = model.Backend.Allocate(DType.I32, groups, KvBatch.GroupFields);
        _tables = model.Backend.Allocate(DType.I32, 1, groups);
        _rowStarts = model.Backend.Allocate(DType.I32, 1, 2);
        model.Backend.Upload(MemoryMarshal.AsBytes<int>([.. Enumerable.Range(0, groups)]), _tables);
        model.Backend.Upload(MemoryMarshal.AsBytes<int>([0, 1]), _rowStarts);
    }

    /// <summary>Tokens in the cache.</summary>
    public int Length { get; private set; }

    /// <summary>Feeds one token; returns the logits after it.</summary>
    public float[] Feed(int token)
    {
        int groups = _model.Layout.Groups;
        int[] rows = new int[KvBatch.GroupFields * groups];
        for (int group = 0; group < groups; group++)
            (rows[KvBatch.GroupFields * group], rows[KvBatch.GroupFields * group + 1]) = (group, Length);
        _model.Backend.Upload(MemoryMarshal.AsBytes<int>(rows), _groups);
        Tensor logits = _model.Forward(new ForwardInput
        {
            TokenIds = [token],
            Positions = [Length],
            LogitRows = [0],
            Kv = new KvBatch(_pool, _format, 1, groups, _groups, _tables, _rowStarts, 1),
        });
        Length++;
        float[] row = new float[_model.Config.VocabularySize];
        _model.Backend.Download(logits, MemoryMarshal.AsBytes(row.AsSpan()));
        return row;
    }

    /// <summary>Logits after every token of a text.</summary>
    public static float[][] Run(DecoderModel model, ReadOnlySpan<int> tokens)
    {
        var decoder = new NaiveDecoder(model, tokens.Length);
        float[][] rows = new float[tokens.Length][];
        for (int i = 0; i < tokens.Length; i++)
            rows[i] = decoder.Feed(tokens[i]);
        return rows;
    }

    /// <summary>Greedy continuation; the lowest id wins ties.</summary>
    public static int[] Greedy(DecoderModel model, ReadOnlySpan<int> prompt, int count)
    {
        var decoder = new NaiveDecoder(model, prompt.Length + count);
        float[] logits = [];
        foreach (int token in prompt)
            logits = decoder.Feed(token);
        int[] output = new int[count];
        for (int i = 0; i < count; i++)
        {
            output[i] = Array.IndexOf(logits, logits.Max());
            logits = decoder.Feed(output[i]);
        }

        return output;
    }
}
