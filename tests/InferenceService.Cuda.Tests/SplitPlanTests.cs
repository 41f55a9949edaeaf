using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Tests;
using InferenceService.Cuda.Verbs;

namespace InferenceService.Cuda.Tests;

/// <summary>The plan that divides keys by length, and the list of tiles beside it.</summary>
[RequiresCuda]
public sealed class SplitPlanTests
{
    private const int Head = 4, Chunk = 256; // Kernels/attention.cuh

    [ContractFact]
    public void Every_lane_is_covered_once_by_a_bounded_number_of_items_of_about_the_same_length() => Property.Check(30, random =>
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        int sequences = random.Next(1, random.Next(5) == 0 ? 300 : 12), kvHeads = random.Next(1, 9), most = random.Next(1, 5), rowsPerTile = random.Next(1, 30);
        bool single = random.Next(2) == 0;
        int[] counts = [.. Enumerable.Range(0, sequences).Select(_ => random.Next(3) switch { 0 => 0, 1 => random.Next(1, most + 1), _ => random.Next(1, 90) })];
        int[] starts = [0, .. counts.Select((_, s) => counts.Take(s + 1).Sum())], lengths = [.. Enumerable.Range(0, sequences * (single ? 1 : kvHeads)).Select(_ => random.Next(random.Next(4) == 0 ? 60_000 : 700))];
        var batch = new KvBatch { Sequences = sequences, GroupsPerSequence = single ? 1 : kvHeads };
        var cache = new CacheArguments
        {
            Groups = Ints(backend, [.. lengths.SelectMany(length => (int[])[0, length, 0, 0, 0, 0, 0])]),
            RowStarts = Ints(backend, starts),
            LaneGroup = Ints(backend, [.. Enumerable.Range(0, kvHeads).Select(head => single ? 0 : head)]),
            LaneOffset = Ints(backend, new int[kvHeads]),
            Fault = Ints(backend, new int[4]),
            BlockBytes = 1 << 20,
            Sequences = sequences,
            GroupsPerSequence = batch.GroupsPerSequence,
            KvHeads = kvHeads,
            Format = new FormatArguments(new KvBlockFormat(DType.BF16, 16, 64, 1)),
            Rows = starts[^1],
        };
        (ulong plan, ulong tiles) = backend.Plans.Make(cache, batch, most, most + 1, rowsPerTile);
        int lanes = sequences * kvHeads, bound = (int)backend.Plans.MostItems(batch, kvHeads);
        int[] planned = Read(backend, plan, Head + 2 * lanes + bound), listed = Read(backend, tiles, Head + 2 * (int)SplitPlans.MostTiles(batch, cache.Rows, rowsPerTile));
        int Chunks(int lane) => Math.Max(1, (lengths[single ? lane / kvHeads : lane] + counts[lane / kvHeads] + Chunk - 1) / Chunk);
        bool Served(int lane) => counts[lane / kvHeads] > 0 && counts[lane / kvHeads] <= most;
        int total = Enumerable.Range(0, lanes).Where(Served).Sum(Chunks), share = Math.Max(1, (total + backend.Plans.Target - 1) / backend.Plans.Target);
        var expected = new List<int>();
        for (int lane = 0; lane < lanes; lane++)
        {
            int splits = Served(lane) ? Math.Min(SplitPlans.MostSplits, (Chunks(lane) + share - 1) / share) : 0;
            Assert.Equal((splits, expected.Count), (planned[Head + 2 * lane], planned[Head + 2 * lane + 1]));
            expected.AddRange(Enumerable.Range(0, splits).Select(split => lane << 8 | split)); // chunk i of a lane is split i mod splits: all once
        }

        Assert.InRange(planned[0], 0, bound);
        Assert.Equal(expected, planned.Skip(Head + 2 * lanes).Take(planned[0]));
        int[] expectedTiles = [.. Enumerable.Range(0, sequences).Where(s => counts[s] > most).SelectMany(s => Enumerable.Range(0, (counts[s] + rowsPerTile - 1) / rowsPerTile).SelectMany(number => (int[])[s, number]))];
        Assert.Equal(expectedTiles.Length / 2, listed[0]);
        Assert.Equal(expectedTiles, listed.Skip(Head).Take(2 * listed[0]));
    });

    [ContractFact]
    public void A_step_with_more_rows_than_it_was_said_to_have_is_reported()
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        var format = new KvBlockFormat(DType.BF16, 16, 64, 1);
        Tensor Tensors(int rows, int columns, params int[] values)
        {
            Tensor tensor = backend.Allocate(DType.I32, rows, columns);
            backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
            return tensor;
        }

        Tensor q = backend.Allocate(DType.F32, 4, 64), output = backend.Allocate(DType.F32, 4, 64);
        var batch = new KvBatch(
            backend.Allocate(DType.U8, 2, format.BlockBytes), format, 2, 1, Tensors(2, KvBatch.GroupFields, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), Tensors(1, 2, 0, 1), Tensors(1, 3, 0, 1, 4), 1);
        var cache = new PagedKv(batch, Tensors(1, 1, 0), Tensors(1, 1, 0), 1);
        Assert.Contains("owns 3 rows", Assert.Throws<ShapeException>(() => backend.Attention(q, cache, default, output)).Message, StringComparison.Ordinal);
    }

    private static ulong Ints(CudaBackend backend, int[] values)
    {
        Tensor tensor = backend.Allocate(DType.I32, 1, values.Length);
        backend.Upload(MemoryMarshal.AsBytes(values.AsSpan()), tensor);
        return CudaBackend.Address(tensor);
    }

    /// <summary>Words at an address that the backend gave, by way of a tensor that starts there.</summary>
    private static int[] Read(CudaBackend backend, ulong address, int words)
    {
        Tensor any = backend.Allocate(DType.I32, 1, words);
        int[] values = new int[words];
        backend.Download(any with { Offset = any.Offset + (long)(address - CudaBackend.Address(any)) }, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }
}
