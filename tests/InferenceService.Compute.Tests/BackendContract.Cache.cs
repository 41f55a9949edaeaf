namespace InferenceService.Compute.Tests;

public abstract partial class BackendContract
{
    private static readonly KvCase.Limits Small = new(Sequences: 4, Slots: 150, Rows: 20);

    /// <summary>Numbers at which binary16 changes its manner.</summary>
    private static readonly float[] Edges =
    [
        65519.99f, 65520, 65536, 65600, 65700, 131071, -65504, 6.1035156e-5f, 6.1e-5f, 5.9604645e-8f, 2.9802322e-8f, 2.98024e-8f, 0, -0f,
        float.NaN, float.PositiveInfinity, float.NegativeInfinity,
    ];

    [ContractFact]
    public void Keys_and_values_go_to_their_slots_and_nowhere_else() => Property.Check(30, random => AssertWritten(KvCase.Random(random, Small)));

    [ContractFact]
    public void Keys_and_values_of_many_short_sequences_go_to_their_slots() => Property.Check(4, random =>
        AssertWritten(KvCase.Random(random, new KvCase.Limits(Sequences: 60, Slots: 6, Rows: 3) { HeadDims = [80, 128] })));

    private void AssertWritten(KvCase kvCase)
    {
        KvRun expected = new(kvCase, _reference), actual = new(kvCase, backend);
        expected.All(observe: false);
        actual.All(observe: false);
        Assert.True(expected.PoolBytes().AsSpan().SequenceEqual(actual.PoolBytes()), $"{kvCase.Format}: pools differ.");
    }

    [ContractFact]
    public void Rotation_and_write_in_one_verb_have_the_bits_of_their_parts() => Property.Check(15, random =>
    {
        int headDim = 2 * random.Next(1, 70), kvHeads = random.Next(1, 4), heads = kvHeads * random.Next(1, 4), rows = random.Next(1, 12), length = random.Next(20);
        var format = new KvBlockFormat(AnyFloat(random), random.Next(1, 9), headDim, kvHeads);
        Matrix q = Matrix.Random(random, DType.F32, rows, heads * headDim, strided: true), k = Matrix.Random(random, DType.F32, rows, kvHeads * headDim, strided: true);
        Matrix v = Matrix.Random(random, DType.F32, rows, k.Columns), angles = Matrix.Random(random, DType.F32, rows, 2 * random.Next(1, headDim / 2 + 1), strided: true);
        (float[] expectedQ, float[] expectedK, byte[] expectedPool) = Run(fused: false);
        (float[] actualQ, float[] actualK, byte[] actualPool) = Run(fused: true);
        Tolerance.AssertSame(expectedQ, actualQ, "queries");
        Tolerance.AssertSame(expectedK, actualK, "keys");
        Assert.True(expectedPool.AsSpan().SequenceEqual(actualPool), $"{format}: pools differ.");
        Assert.NotEqual(q.Values, actualQ);

        (float[] Q, float[] K, byte[] Pool) Run(bool fused)
        {
            int blocks = (length + rows) / format.BlockSize + 1;
            Tensor pool = backend.Allocate(DType.U8, blocks, format.BlockBytes), queries = q.On(backend), keys = k.On(backend), values = v.On(backend), turns = angles.On(backend);
            var batch = new KvBatch(pool, format, 1, 1, Ints([0, length, 0, 0, 0, 0, 0]), Ints([.. Enumerable.Range(0, blocks)]), Ints([0, rows]), rows);
            var cache = new PagedKv(batch, Ints(new int[kvHeads]), Ints([.. Enumerable.Range(0, kvHeads).Select(format.LaneOffset)]), 1);
            if (fused)
                backend.RopeWriteKv(queries, keys, values, turns, cache);
            else
            {
                backend.Rope(queries, turns, headDim);
                backend.Rope(keys, turns, headDim);
                backend.WriteKv(keys, values, cache);
            }

            byte[] bytes = new byte[pool.ByteLength];
            backend.Download(pool, bytes);
            return (q.From(backend, queries), k.From(backend, keys), bytes);
        }
    });

    [ContractFact]
    public void Rounding_to_sixteen_bits_is_to_nearest_even_and_keeps_what_is_not_a_number() => Property.Check(20, random =>
    {
        float[] values = new float[64];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = random.Next(4) switch
            {
                0 => BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue)),
                1 => (float)BitConverter.UInt16BitsToHalf((ushort)random.Next(65536)) * (1 + random.Next(-2, 3) / 4096f), // near and on ties
                2 => BitConverter.Int32BitsToSingle(random.Next() << 15),
                _ => Edges[random.Next(Edges.Length)],
            };
        }

        foreach (DType type in new[] { DType.F32, DType.F16, DType.BF16 })
        {
            float[] expected = Stored(_reference, type, values), actual = Stored(backend, type, values);
            for (int i = 0; i < values.Length; i++)
            {
                // NaN must stay NaN; which one is nobody's business.
                if (!expected[i].Equals(actual[i]) || BitConverter.SingleToInt32Bits(expected[i]) >> 31 != BitConverter.SingleToInt32Bits(actual[i]) >> 31)
                    Assert.Fail($"{values[i]:R} was stored as {type} {actual[i]:R}, expected {expected[i]:R}.");
            }
        }
    });

    [ContractFact]
    public void Slots_move_in_order() => Property.Check(20, random =>
    {
        var format = new KvBlockFormat(AnyFloat(random), random.Next(1, 20), random.Next(1, 70), random.Next(1, 9));
        int blocks = random.Next(1, 10);
        byte[] bytes = new byte[blocks * format.BlockBytes];
        random.NextBytes(bytes);
        SlotMove[] moves = Enumerable.Range(0, random.Next(30))
            .Select(_ => new SlotMove(random.Next(blocks * format.BlockSize), random.Next(blocks * format.BlockSize))).ToArray();
        byte[] expected = Moved(_reference), actual = Moved(backend);
        Assert.True(expected.AsSpan().SequenceEqual(actual), $"{format}: pools differ.");

        byte[] Moved(IBackend on)
        {
            Tensor pool = on.Allocate(DType.U8, blocks, format.BlockBytes);
            on.Upload(bytes, pool);
            on.MoveSlots(moves, pool, format);
            byte[] after = new byte[bytes.Length];
            on.Download(pool, after);
            return after;
        }
    });

    [ContractFact]
    public void Moves_out_of_the_pool_are_refused()
    {
        var format = new KvBlockFormat(DType.F32, 4, 8, 2);
        Tensor pool = backend.Allocate(DType.U8, 3, format.BlockBytes);
        Assert.Throws<ShapeException>(() => backend.MoveSlots([new SlotMove(0, 12)], pool, format));
        Assert.Throws<ShapeException>(() => backend.MoveSlots([new SlotMove(-1, 0)], pool, format));
        Assert.Throws<ShapeException>(() => backend.MoveSlots([], pool, format with { Lanes = 1 }));
    }

    /// <summary>What a row of one KV head reads as after it was stored in slot 2.</summary>
    private static float[] Stored(IBackend on, DType type, float[] values)
    {
        var format = new KvBlockFormat(type, 4, values.Length, 1);
        Tensor Ints(params int[] ints)
        {
            Tensor tensor = on.Allocate(DType.I32, 1, ints.Length);
            on.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes(ints.AsSpan()), tensor);
            return tensor;
        }

        Tensor pool = on.Allocate(DType.U8, 1, format.BlockBytes), row = new Matrix(DType.F32, 1, values.Length, values).On(on);
        Tensor groups = Ints(0, 2, 0, 0, 0, 0, 0);
        var batch = new KvBatch(pool, format, 1, 1, groups, Ints(0), Ints(0, 1), 1);
        on.WriteKv(row, row, new PagedKv(batch, Ints(0), Ints(0), 1));
        byte[] bytes = new byte[format.BlockBytes];
        on.Download(pool, bytes);
        return Enumerable.Range(0, values.Length).Select(i => Half16Bits.Read(type, bytes, 2 * values.Length + i)).ToArray();
    }
}
