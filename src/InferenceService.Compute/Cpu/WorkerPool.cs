using System.Diagnostics;

namespace InferenceService.Compute.Cpu;

/// <summary>A few threads that run one piece of work together, again and again, with as little between as possible.</summary>
/// <remarks>
/// The caller is worker 0. Between pieces the others spin for a while, since the next one usually follows within microseconds,
/// then give their core away at every turn, then sleep on an event: an idle server burns no processor time. Work is a static
/// function over a struct on the caller's stack, so a call allocates nothing. One caller at a time.
/// </remarks>
internal sealed unsafe class WorkerPool : IDisposable
{
    private static readonly long SpinTicks = Stopwatch.Frequency / 20_000; // 50 µs: longer than the serial gaps inside a step
    private static readonly long AwakeTicks = Stopwatch.Frequency / 1_000; // 1 ms: longer than the gaps between steps

    private readonly Thread[] _threads;
    private readonly Sleeper[] _sleepers;
    private delegate*<void*, int, void> _work;
    private void* _job;
    private bool _stop;
    private Padded _generation; // pieces of work begun
    private Padded _running;    // workers that have not finished the current piece

    /// <summary>Starts <paramref name="workers"/> − 1 threads.</summary>
    public WorkerPool(int workers)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(workers);
        Workers = workers;
        _threads = new Thread[workers - 1];
        _sleepers = new Sleeper[workers - 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            int worker = i + 1;
            _sleepers[i] = new Sleeper();
            _threads[i] = new Thread(() => Serve(worker)) { IsBackground = true, Name = $"compute {worker}" };
            _threads[i].Start();
        }
    }

    /// <summary>Threads that take part, the caller included.</summary>
    public int Workers { get; }

    /// <summary>Threads that sleep at this moment: all but the caller's once nothing has run for a while.</summary>
    public int Sleeping
    {
        get
        {
            int count = 0;
            foreach (Sleeper sleeper in _sleepers)
                count += Volatile.Read(ref sleeper.Asleep);
            return count;
        }
    }

    /// <summary>Calls <paramref name="work"/>(job, worker) once on every worker and returns when all calls have returned.</summary>
    /// <remarks>The work must not throw. It shares itself out, usually by <see cref="Interlocked.Increment(ref int)"/> on a ticket in the job.</remarks>
    public void Run(delegate*<void*, int, void> work, void* job)
    {
        if (_threads.Length > 0)
            Begin(work, job);
        work(job, 0);
        if (_threads.Length > 0)
            Finish();
    }

    /// <summary>Ends the threads. No piece of work is running.</summary>
    public void Dispose()
    {
        if (_stop)
            return;
        Volatile.Write(ref _stop, true);
        Begin(&Nothing, null);
        foreach (Thread thread in _threads)
            thread.Join();
        foreach (Sleeper sleeper in _sleepers)
            sleeper.Dispose();
    }

    private static void Nothing(void* job, int worker)
    {
    }

    private void Begin(delegate*<void*, int, void> work, void* job)
    {
        _work = work;
        _job = job;
        _running.Value = _threads.Length;
        Interlocked.Increment(ref _generation.Value); // publishes the fields above, and orders the reads of Asleep below after it
        foreach (Sleeper sleeper in _sleepers)
        {
            if (Volatile.Read(ref sleeper.Asleep) != 0 && Interlocked.Exchange(ref sleeper.Asleep, 0) != 0)
                sleeper.Signal.Set();
        }
    }

    private void Finish()
    {
        var spinner = new Spinner();
        while (Volatile.Read(ref _running.Value) != 0)
            spinner.Turn();
    }

    private void Serve(int worker)
    {
        Sleeper sleeper = _sleepers[worker - 1];
        int seen = 0;
        while (true)
        {
            seen = Await(seen, sleeper);
            if (Volatile.Read(ref _stop))
                return;
            _work(_job, worker);
            Interlocked.Decrement(ref _running.Value);
        }
    }

    /// <summary>Waits until the generation differs from the one <paramref name="seen"/> and returns it.</summary>
    private int Await(int seen, Sleeper sleeper)
    {
        var spinner = new Spinner();
        int now;
        while ((now = Volatile.Read(ref _generation.Value)) == seen)
        {
            if (!spinner.Turn())
                continue;
            Interlocked.Exchange(ref sleeper.Asleep, 1);
            if (Volatile.Read(ref _generation.Value) == seen)
                sleeper.Signal.WaitOne();
            else if (Interlocked.Exchange(ref sleeper.Asleep, 0) == 0)
                sleeper.Signal.WaitOne(); // the caller saw us asleep: its signal is on the way and must not be left over
            spinner = new Spinner();
        }

        return now;
    }

    /// <summary>Waiting in three manners: spinning, spinning politely, and (the caller's choice) asleep.</summary>
    private struct Spinner
    {
        private int _turns;
        private long _start;

        /// <summary>Passes a moment. True when waiting has lasted so long that sleeping is right.</summary>
        public bool Turn()
        {
            if ((++_turns & 15) != 0)
            {
                Thread.SpinWait(8);
                return false;
            }

            long now = Stopwatch.GetTimestamp();
            if (_start == 0)
                _start = now;
            if (now - _start < SpinTicks)
                return false;
            Thread.Yield();
            return now - _start >= AwakeTicks;
        }
    }

    private sealed class Sleeper : IDisposable
    {
        public readonly AutoResetEvent Signal = new(false);
        public int Asleep;

        public void Dispose() => Signal.Dispose();
    }

    /// <summary>A counter alone on its cache lines, so that spinning on it disturbs nobody.</summary>
    [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit, Size = 256)]
    private struct Padded
    {
        [System.Runtime.InteropServices.FieldOffset(128)]
        public int Value;
    }
}
