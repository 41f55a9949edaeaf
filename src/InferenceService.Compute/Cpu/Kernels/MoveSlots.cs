namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>Copies slots inside the pool: every K and V row of every lane of the block.</summary>
/// <remarks>Bound by memory. Workers take whole half-lanes, which never overlap, so each sees the moves in their order.</remarks>
internal static unsafe class MoveSlots
{
    private struct Job
    {
        public SlotMove* Moves;
        public byte* Pool;
        public int Count, BlockBytes, HalfLaneBytes, RowBytes, BlockSize, HalfLanes;
        public int HalvesEach, Ticket;
    }

    /// <summary>Copies; shapes checked by the caller.</summary>
    public static void Run(KernelHost host, ReadOnlySpan<SlotMove> moves, in Tensor pool, in KvBlockFormat format)
    {
        fixed (SlotMove* first = moves)
        {
            var job = new Job
            {
                Moves = first,
                Pool = (byte*)pool.Address,
                Count = moves.Length,
                BlockBytes = format.BlockBytes,
                HalfLaneBytes = format.HalfLaneBytes,
                RowBytes = format.HeadDim * format.Type.Size(),
                BlockSize = format.BlockSize,
                HalfLanes = 2 * format.Lanes,
                HalvesEach = Tickets.RowsEach(2 * format.Lanes, host.Workers),
            };
            host.Run(&Work, &job, (long)moves.Length * format.Lanes * 2 * (8 + job.RowBytes / 32));
        }
    }

    private static void Work(void* state, int worker)
    {
        ref Job job = ref *(Job*)state;
        for (int first; (first = Tickets.Take(ref job.Ticket, job.HalvesEach)) < job.HalfLanes;)
        {
            for (int half = first; half < Math.Min(first + job.HalvesEach, job.HalfLanes); half++)
            {
                for (int i = 0; i < job.Count; i++)
                    Buffer.MemoryCopy(Row(job, job.Moves[i].From, half), Row(job, job.Moves[i].To, half), job.RowBytes, job.RowBytes);
            }
        }
    }

    private static byte* Row(in Job job, int slot, int half)
    {
        (int block, int inBlock) = Math.DivRem(slot, job.BlockSize);
        return job.Pool + (long)block * job.BlockBytes + (long)half * job.HalfLaneBytes + (long)inBlock * job.RowBytes;
    }
}
