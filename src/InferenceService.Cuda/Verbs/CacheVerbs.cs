using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>The verbs that fill and change the paged cache: arguments and launch shapes.</summary>
internal sealed class CacheVerbs(CudaStream stream, KernelSet kernels, FaultRecord fault)
{
    private const int RowThreads = 64, Threads = 128; // Kernels/cache.cu

    public void Write(in Tensor k, in Tensor v, in PagedKv cache)
    {
        if (cache.Batch.Sequences > 0)
            kernels.WriteKv.Launch(stream, Rows(k, v, cache), (k.Rows, cache.LaneGroup.Columns, 1), RowThreads);
    }

    /// <summary>Rotates queries and keys too.</summary>
    public void RotateAndWrite(in Tensor q, in Tensor k, in Tensor v, in Tensor cosSin, in PagedKv cache)
    {
        int heads = q.Columns / cache.Batch.Format.HeadDim;
        var arguments = new RotateArguments
        {
            Write = Rows(k, v, cache),
            Q = CudaBackend.Address(q),
            K = CudaBackend.Address(k),
            CosSin = CudaBackend.Address(cosSin),
            QStride = q.RowStride,
            CosSinStride = cosSin.RowStride,
            Heads = heads,
            Half = cosSin.Columns / 2,
        };
        kernels.RopeWriteKv.Launch(stream, arguments, (k.Rows, heads + cache.LaneGroup.Columns, 1), RowThreads);
    }

    public void Move(ulong moves, int count, in Tensor pool, in KvBlockFormat format) => kernels.MoveSlots.Launch(
        stream,
        new MoveArguments
        {
            Pool = CudaBackend.Address(pool),
            Moves = moves,
            BlockBytes = format.BlockBytes,
            Count = count,
            BlockSize = format.BlockSize,
            HalfLaneBytes = format.HalfLaneBytes,
            RowUnits = format.HeadDim * format.Type.Size() / sizeof(ushort),
        },
        (2 * format.Lanes, 1, 1), Threads);

    public void Pack(ulong packs, int count, in Tensor pool, in KvBlockFormat format) => kernels.PackBlocks.Launch(
        stream,
        new PackArguments
        {
            Pool = CudaBackend.Address(pool),
            Packs = packs,
            BlockBytes = format.BlockBytes,
            Format = new FormatArguments(format),
        },
        (count, format.Lanes, 1), Threads);

    private WriteArguments Rows(in Tensor k, in Tensor v, in PagedKv cache) => new()
    {
        Cache = new CacheArguments(cache, k.Rows, fault),
        K = CudaBackend.Address(k),
        V = CudaBackend.Address(v),
        KStride = k.RowStride,
        VStride = v.RowStride,
    };
}
