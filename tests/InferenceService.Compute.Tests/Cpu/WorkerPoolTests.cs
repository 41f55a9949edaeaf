using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu;

public sealed unsafe class WorkerPoolTests
{
    private const int Pieces = 6;

    private struct Job
    {
        public int Calls, Arrived;
    }

    /// <remarks>A day of decoding is about 2³¹ pieces of work: the count begins just before it runs over, and below zero.</remarks>
    [Theory]
    [InlineData(0)]
    [InlineData(int.MaxValue - 2)]
    [InlineData(-3)]
    public void Every_worker_comes_to_every_piece_once_however_many_there_were_before(int before)
    {
        using var pool = new WorkerPool(3, before: before);
        for (int piece = 0; piece < Pieces; piece++)
        {
            var job = new Job();
            pool.Run(&Meet, &job);
            Assert.Equal((3, 3), (job.Arrived, job.Calls));
        }
    }

    /// <summary>Stays until all have come, or so long that one must have been forgotten.</summary>
    private static void Meet(void* state, int worker)
    {
        const long FarTooLong = 60_000;
        ref Job job = ref *(Job*)state;
        Interlocked.Increment(ref job.Calls);
        Interlocked.Increment(ref job.Arrived);
        long began = Environment.TickCount64;
        while (Volatile.Read(ref job.Arrived) < 3 && Environment.TickCount64 - began < FarTooLong)
            Thread.Yield();
    }
}
