namespace InferenceService.Compute.Tests;

public abstract partial class BackendContract
{
    private static readonly KvCase.Limits Packed = new(Sequences: 3, Slots: 250, Rows: 20) { BlockSizes = [32, 64], PackedBits = [4, 8] };

    private static readonly int[] HeadDims = [2, 6, 16, 20, 32, 64, 80, 128];

    [ContractFact]
    public void Attention_over_packed_blocks_equals_dense_over_what_they_hold() => Property.Check(40, random => AssertDense(KvCase.Random(random, Packed)));

    [ContractFact]
    public void Attention_over_packed_blocks_equals_dense_over_long_contexts() => Property.Check(4, random =>
        AssertDense(KvCase.Random(random, Packed with { Slots = 1600, Rows = 3, HeadDims = [64, 128] })));

    [ContractFact]
    public void Attention_over_packed_blocks_equals_dense_over_long_prompts() => Property.Check(3, random =>
        AssertDense(KvCase.Random(random, Packed with { Sequences = 2, Slots = 600, Rows = 150, HeadDims = [32, 80] })));

    [ContractFact]
    public void Packing_errs_by_half_a_scale_at_most() => Property.Check(20, random =>
    {
        KvBlockFormat format = AnyPackedFormat(random);
        byte[] pool = RandomBlock(random, format);
        byte[] packed = Pack(backend, format, pool);
        for (int lane = 0; lane < format.Lanes; lane++)
        {
            for (int half = 0; half < 2; half++)
                AssertRoundTrip(format, pool, packed, lane, half == 1);
        }
    });

    [ContractFact]
    public void Packing_gives_the_codes_of_its_definition() => Property.Check(10, random =>
    {
        KvBlockFormat format = AnyPackedFormat(random);
        byte[] pool = RandomBlock(random, format), expected = Pack(_reference, format, pool), actual = Pack(backend, format, pool);
        int differing = 0, elements = format.Lanes * 2 * format.BlockSize * format.HeadDim;
        for (int i = 0; i < elements; i++)
        {
            (int lane, int slot, int channel, bool value) = (i / 2 / format.BlockSize / format.HeadDim, i / 2 / format.HeadDim % format.BlockSize, i / 2 % format.HeadDim, i % 2 == 1);
            PackedChild read = new(actual, format, 0, lane), wanted = new(expected, format, 0, lane);
            double scale = wanted.Scale(slot, channel, value), next = (double)Half.BitIncrement((Half)scale) - scale;
            // A range that divides to the edge between two 16-bit numbers may fall to either side; its codes then follow its scale.
            Assert.InRange(Math.Abs(read.Scale(slot, channel, value) - scale), 0, next);
            differing += read.Scale(slot, channel, value) == scale && read.Read(slot, channel, value) != wanted.Read(slot, channel, value) ? 1 : 0;
        }

        Assert.True(differing <= elements / 500 + 1, $"{format}: {differing} of {elements} elements differ."); // near ties of codes only
    });

    [ContractFact]
    public void A_block_is_packed_the_same_alone_and_among_others() => Property.Check(5, random =>
    {
        KvBlockFormat format = AnyPackedFormat(random);
        byte[][] blocks = [.. Enumerable.Range(0, 5).Select(_ => RandomBlock(random, format))];
        Tensor pool = backend.Allocate(DType.U8, 10, format.BlockBytes);
        for (int i = 0; i < blocks.Length; i++)
            backend.Upload(blocks[i], pool.RowRange(i, 1));
        int[] children = [.. Enumerable.Range(5 * format.ChildrenPerBlock, 5 * format.ChildrenPerBlock)];
        random.Shuffle(children);
        backend.PackBlocks([.. Enumerable.Range(0, 5).Select(i => new BlockPack(i, children[i]))], pool, format);
        byte[] all = new byte[pool.ByteLength];
        backend.Download(pool, all);
        for (int i = 0; i < blocks.Length; i++)
        {
            ReadOnlySpan<byte> child = all.AsSpan(
                children[i] / format.ChildrenPerBlock * format.BlockBytes + children[i] % format.ChildrenPerBlock * format.ChildBytes, format.ChildBytes);
            Assert.True(child.SequenceEqual(Pack(backend, format, blocks[i]).AsSpan(0, format.ChildBytes)), $"{format}: block {i} differs.");
            Assert.True(all.AsSpan(i * format.BlockBytes, format.BlockBytes).SequenceEqual(blocks[i]), $"{format}: source {i} was written.");
        }
    });

    [ContractFact]
    public void A_constant_group_reads_as_its_constant_and_huge_numbers_stay_finite()
    {
        foreach (int bits in new[] { 4, 8 })
        {
            foreach (float constant in new[] { 0f, -0.75f, 3f, 1e-9f, 3e38f, -3e38f })
            {
                var format = new KvBlockFormat(DType.F32, 32, 6, 1, bits);
                byte[] block = new byte[format.BlockBytes];
                for (int i = 0; i < 2 * 32 * 6; i++)
                    BitConverter.TryWriteBytes(block.AsSpan(i * 4), constant);
                var child = new PackedChild(Pack(backend, format, block), format, 0, 0);
                double held = (double)(Half)Math.Clamp(constant, -65504, 65504);
                for (int slot = 0; slot < 32; slot++)
                {
                    for (int c = 0; c < 6; c++)
                    {
                        Assert.Equal(held, child.Read(slot, c, value: false));
                        Assert.Equal(held, child.Read(slot, c, value: true));
                        Assert.True(child.Scale(slot, c, value: true) > 0);
                    }
                }
            }
        }
    }

    [ContractFact]
    public void Packing_and_writing_where_they_may_not_is_refused()
    {
        var format = new KvBlockFormat(DType.F32, 32, 64, 1, 4);
        Tensor pool = backend.Allocate(DType.U8, 2, format.BlockBytes);
        Assert.Equal(6, format.ChildrenPerBlock);
        Assert.Throws<ShapeException>(() => backend.PackBlocks([new BlockPack(0, 12)], pool, format));
        Assert.Throws<ShapeException>(() => backend.PackBlocks([new BlockPack(0, 5)], pool, format)); // a child of the block itself
        Assert.Throws<ShapeException>(() => backend.PackBlocks([new BlockPack(2, 0)], pool, format));
        Assert.Throws<ShapeException>(() => backend.PackBlocks([], pool, format with { PackedBits = 0 }));
        Assert.Throws<ShapeException>(() => backend.PackBlocks([], pool, format with { PackedBits = 3 }));
        Assert.Throws<ShapeException>(() => backend.PackBlocks([], pool, format with { BlockSize = 48 }));

        Tensor groups = backend.Allocate(DType.I32, 1, KvBatch.GroupFields), row = new Matrix(DType.F32, 1, 64, new float[64]).On(backend);
        var batch = new KvBatch(pool, format, 1, 1, groups, Ints([~0]), Ints([0, 1]), 1);
        Assert.Throws<ShapeException>(() => backend.WriteKv(row, row, new PagedKv(batch, Ints([0]), Ints([0]), 1)));
    }

    [ContractFact]
    public void Packed_blocks_cost_what_the_paper_says()
    {
        // b + 32/G bits an element: kept whole numbers of children a parent, the nearest to the ratio of the sizes.
        foreach ((DType type, int bits, int children) in new[] { (DType.BF16, 4, 3), (DType.F16, 8, 2), (DType.F32, 4, 6), (DType.F32, 8, 4) })
        {
            var format = new KvBlockFormat(type, 32, 64, 6, bits);
            Assert.Equal(2 * 32 * 64 * 6 * (bits + 1) / 8, format.ChildBytes);
            Assert.Equal(children, format.ChildrenPerBlock);
            Assert.True(format.BlockBytes >= format.ChildrenPerBlock * format.ChildBytes && format.BlockBytes >= format.LaneOffset(6));
        }
    }

    private static KvBlockFormat AnyPackedFormat(Random random) => new(
        AnyFloat(random), random.Next(2) == 0 ? 32 : 64, HeadDims[random.Next(HeadDims.Length)], random.Next(1, 5), random.Next(2) == 0 ? 4 : 8);

    /// <summary>A full block whose groups differ in size and place.</summary>
    private static byte[] RandomBlock(Random random, KvBlockFormat format)
    {
        byte[] block = new byte[format.BlockBytes];
        for (int row = 0; row < format.Lanes * 2 * format.BlockSize; row++)
        {
            float width = MathF.Pow(2, random.Next(-12, 6)), centre = (random.NextSingle() - 0.5f) * 8;
            Span<byte> bytes = block.AsSpan(row * format.HeadDim * format.Type.Size(), format.HeadDim * format.Type.Size());
            for (int c = 0; c < format.HeadDim; c++)
                Half16Bits.Write(format.Type, bytes, c, centre + width * (random.NextSingle() - 0.5f));
        }

        return block;
    }

    /// <summary>The second block of a pool of two after the first was packed into its child 0.</summary>
    private static byte[] Pack(IBackend on, KvBlockFormat format, byte[] block)
    {
        Tensor pool = on.Allocate(DType.U8, 2, format.BlockBytes);
        on.Upload(block, pool.RowRange(0, 1));
        on.PackBlocks([new BlockPack(0, format.ChildrenPerBlock)], pool, format);
        byte[] packed = new byte[format.BlockBytes];
        on.Download(pool.RowRange(1, 1), packed);
        return packed;
    }

    private static void AssertRoundTrip(KvBlockFormat format, byte[] block, byte[] packed, int lane, bool value)
    {
        var child = new PackedChild(packed, format, 0, lane);
        int levels = (1 << format.PackedBits) - 1;
        for (int slot = 0; slot < format.BlockSize; slot++)
        {
            ReadOnlySpan<byte> row = block.AsSpan(
                format.LaneOffset(lane) + (value ? format.HalfLaneBytes : 0) + slot * format.HeadDim * format.Type.Size(), format.HeadDim * format.Type.Size());
            for (int c = 0; c < format.HeadDim; c++)
            {
                double exact = Half16Bits.Read(format.Type, row, c), scale = child.Scale(slot, c, value);
                double rounding = levels * (scale / 2048 + Math.Pow(2, -25)) + 40.0 / 2048; // of scale and of min, |min| < 40
                double error = Math.Abs(child.Read(slot, c, value) - exact);
                if (!(error <= scale / 2 + rounding))
                    Assert.Fail($"{format}: lane {lane}, slot {slot}, channel {c}, value {value}: {exact} is off by {error}, scale {scale}.");
            }
        }
    }
}
