using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using InferenceService.Compute.Cpu.Simd;

namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Quantises full blocks into packed children (KIVI, arXiv:2402.02750): asymmetric min-max over groups of 32.</summary>
/// <remarks>A task is one lane of one block: 4·slots·headDim reads, the K rows transposed on the way. Once per 32 tokens, so not tuned further.</remarks>
internal static unsafe class PackBlocks
{
    private const int Group = KvBlockFormat.PackedGroup;
    private const float LargestHalf = 65504f;
    private const float SmallestHalf = 5.9604645e-8f; // 2^−24

    private struct Job
    {
        public BlockPack* Packs;
        public byte* Pool;
        public float* Scratch;
        public long ScratchFloats;
        public KvBlockFormat Format;
        public int Tasks, Ticket;
    }

    /// <summary>Packs; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, ReadOnlySpan<BlockPack> packs, in Tensor pool, in KvBlockFormat format)
    {
        fixed (BlockPack* first = packs)
        {
            int row = format.ChannelGroups * Group;
            var job = new Job
            {
                Packs = first,
                Pool = (byte*)pool.Address,
                ScratchFloats = row + Group * format.HeadDim,
                Format = format,
                Tasks = packs.Length * format.Lanes,
            };
            job.Scratch = host.Scratch(job.ScratchFloats);
            host.Run(Select(host.Path, format), &job, (long)job.Tasks * format.BlockSize * format.HeadDim / 4);
        }
    }

    private static delegate*<void*, int, void> Select(SimdPath path, in KvBlockFormat format) => path switch
    {
        SimdPath.Avx512 => Select<Simd512, Vector512<float>>(format),
        SimdPath.Avx2 => Select<Simd256, Vector256<float>>(format),
        _ => Select<Simd128, Vector128<float>>(format),
    };

    private static delegate*<void*, int, void> Select<S, V>(in KvBlockFormat format) where S : struct, ISimd<V> where V : struct =>
        (format.Type, format.PackedBits) switch
        {
            (DType.F32, 4) => &Work<S, V, F32Element, Bits4>,
            (DType.F32, _) => &Work<S, V, F32Element, Bits8>,
            (DType.F16, 4) => &Work<S, V, F16Element, Bits4>,
            (DType.F16, _) => &Work<S, V, F16Element, Bits8>,
            (_, 4) => &Work<S, V, BF16Element, Bits4>,
            _ => &Work<S, V, BF16Element, Bits8>,
        };

    private static void Work<S, V, E, C>(void* state, int worker)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement where C : struct, ICodes
    {
        ref Job job = ref *(Job*)state;
        KvBlockFormat format = job.Format;
        int children = format.ChildrenPerBlock;
        for (int task; (task = Tickets.Take(ref job.Ticket, 1)) < job.Tasks;)
        {
            BlockPack pack = job.Packs[task / format.Lanes];
            int lane = task % format.Lanes;
            byte* keys = job.Pool + (long)pack.Block * format.BlockBytes + format.LaneOffset(lane);
            byte* child = job.Pool + (long)(pack.Child / children) * format.BlockBytes + (long)(pack.Child % children) * format.ChildBytes
                + (long)lane * format.ChildLaneBytes;
            float* scratch = job.Scratch + worker * job.ScratchFloats;
            for (int slot = 0; slot < format.BlockSize; slot += Group, child += format.ChildKeyBytes)
                Keys<S, V, E, C>(format, keys + (long)slot * format.HeadDim * E.Size, child, scratch);
            Values<S, V, E, C>(format, keys + format.HalfLaneBytes, child, scratch);
        }
    }

    /// <summary>The keys of 32 slots.</summary>
    /// <param name="child">First of their groups.</param>
    /// <param name="scratch">One row, then the transposed keys.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Keys<S, V, E, C>(in KvBlockFormat format, byte* keys, byte* child, float* scratch)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement where C : struct, ICodes
    {
        float* columns = scratch + format.ChannelGroups * Group;
        for (int slot = 0; slot < Group; slot++)
        {
            Widen<S, V, E>(keys + (long)slot * format.HeadDim * E.Size, format.HeadDim, scratch);
            for (int d = 0; d < format.HeadDim; d++)
                columns[d * Group + slot] = scratch[d];
        }

        var parameters = (Half*)(child + format.HeadDim * C.Bytes);
        for (int d = 0; d < format.HeadDim; d++)
            Quantise<S, V, C>(columns + d * Group, child + d * C.Bytes, parameters + 2 * d);
    }

    /// <summary>The values of all slots.</summary>
    /// <param name="child">First of their groups.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Values<S, V, E, C>(in KvBlockFormat format, byte* values, byte* child, float* scratch)
        where S : struct, ISimd<V> where V : struct where E : struct, IElement where C : struct, ICodes
    {
        int groups = format.ChannelGroups;
        var parameters = (Half*)(child + format.BlockSize * groups * C.Bytes);
        for (int slot = 0; slot < format.BlockSize; slot++)
        {
            Widen<S, V, E>(values + (long)slot * format.HeadDim * E.Size, format.HeadDim, scratch);
            // A short last group repeats its first element, which changes neither its minimum nor its maximum.
            int last = (groups - 1) * Group;
            new Span<float>(scratch + format.HeadDim, groups * Group - format.HeadDim).Fill(scratch[last]);
            for (int group = 0; group < groups; group++, child += C.Bytes, parameters += 2)
                Quantise<S, V, C>(scratch + group * Group, child, parameters);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Widen<S, V, E>(byte* source, int count, float* target) where S : struct, ISimd<V> where V : struct where E : struct, IElement
    {
        int i = 0;
        for (; i <= count - S.Width; i += S.Width)
            S.Store(target + i, E.Load<S, V>(source + i * E.Size));
        if (i < count)
            S.StorePartial(target + i, Ragged.Load<S, V, E>(source + i * E.Size, count - i), count - i);
    }

    /// <summary>One group: its codes, its scale and its min.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quantise<S, V, C>(float* x, byte* codes, Half* parameters) where S : struct, ISimd<V> where V : struct where C : struct, ICodes
    {
        V top = S.Load(x), bottom = S.Subtract(S.Zero, top);
        for (int i = S.Width; i < Group; i += S.Width)
        {
            V more = S.Load(x + i);
            top = S.Max(more, top);
            bottom = S.Max(S.Subtract(S.Zero, more), bottom);
        }

        // What binary16 cannot hold is cut off: a scale or min of infinity would turn the whole group into NaN.
        float max = Math.Clamp(S.MaxLane(top), -LargestHalf, LargestHalf), min = Math.Clamp(-S.MaxLane(bottom), -LargestHalf, LargestHalf);
        parameters[0] = (Half)Math.Max((max - min) / C.Levels, SmallestHalf);
        parameters[1] = (Half)min;

        // Codes are chosen for the scale and min that readers will see; a constant group gets code 0.
        V scale = S.Broadcast((float)parameters[0]), from = S.Broadcast((float)parameters[1]), levels = S.Broadcast(max > min ? C.Levels : 0f);
        for (int i = 0; i < Group / 2; i += S.Width)
            C.Store<S, V>(codes + i, Code<S, V>(x + i, scale, from, levels), Code<S, V>(x + Group / 2 + i, scale, from, levels));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Code<S, V>(float* x, V scale, V min, V levels) where S : struct, ISimd<V> where V : struct =>
        S.Min(S.Max(S.Round(S.Divide(S.Subtract(S.Load(x), min), scale)), S.Zero), levels);
}
