using System.Diagnostics;
using System.Runtime.InteropServices;

namespace InferenceService.Compute.Cpu;

/// <summary>A few threads that run one piece of work together, again and again, with as little between as possible.</summary>
/// <remarks>
/// The caller is worker 0. Between pieces the others spin for a while, since the next one usually follows within microseconds,
/// then give their core away at every turn, then sleep on an event: an idle server burns no processor time. A piece is over when the
/// caller is through with it and everyone who joined has left; a worker whose core is busy with something else comes too late, joins
/// nothing and holds nobody up. Work is a static function over a struct on the caller's stack, so a call allocates nothing. One caller
/// at a time.
/// </remarks>
internal sealed unsafe class WorkerPool : IDisposable
{
    private const int PieceShift = 32;      // the state's upper half counts pieces of work; a day of them passes 2^31, so it is read by a shift, which is right below zero too
    private const long Closed = 1L << 31;   // set once the caller is through: nobody joins any more
    private const long Joined = Closed - 1; // workers at work, the caller not counted

    private static readonly long SpinTicks = Stopwatch.Frequency / 50_000; // 20 µs: longer than the serial gaps inside a step
    private static readonly long AwakeTicks = Stopwatch.Frequency / 1_000; // 1 ms: longer than the gaps between steps

    private readonly Thread[] _threads;
    private readonly Sleeper[] _sleepers;
    private delegate*<void*, int, void> _work;
    private void* _job;
    private bool _stop;
    private Padded _state;

    /// <summary>Starts <paramref name="workers"/> − 1 threads.</summary>
    /// <param name="processors">Where they are kept, should the system allow it; null = nowhere.</param>
    /// <param name="before">Where the count of pieces starts, for checks.</param>
    public WorkerPool(int workers, IReadOnlyList<int>? processors = null, int before = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(workers);
        Workers = workers;
        _state.Value = (long)before << PieceShift | Closed;
        _threads = new Thread[workers - 1];
        _sleepers = new Sleeper[workers - 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            int worker = i + 1;
            _sleepers[i] = new Sleeper();
            _threads[i] = new Thread(() => Serve(worker, processors, before)) { IsBackground = true, Name = $"compute {worker}" };
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

    /// <summary>Calls <paramref name="work"/>(job, worker) on the caller and on every worker that comes in time; returns when all calls have.</summary>
    /// <remarks>
    /// The work must not throw, and must be done when the caller's own call returns, up to what others have begun: it hands itself out
    /// by <see cref="Interlocked.Increment(ref int)"/> on a ticket in the job.
    /// </remarks>
    public void Run(delegate*<void*, int, void> work, void* job)
    {
        if (_threads.Length == 0)
        {
            work(job, 0);
            return;
        }

        Begin(work, job);
        work(job, 0);
        Interlocked.Or(ref _state.Value, Closed);
        var spinner = new Spinner();
        while ((Volatile.Read(ref _state.Value) & Joined) != 0)
            spinner.Turn();
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
        long next = (_state.Value & ~(Closed | Joined)) + (1L << PieceShift);
        Interlocked.Exchange(ref _state.Value, next); // publishes the fields above, and orders the reads of Asleep below after it
        foreach (Sleeper sleeper in _sleepers)
        {
            if (Volatile.Read(ref sleeper.Asleep) != 0 && Interlocked.Exchange(ref sleeper.Asleep, 0) != 0)
                sleeper.Signal.Set();
        }
    }

    private void Serve(int worker, IReadOnlyList<int>? processors, long before)
    {
        if (processors is not null)
            _ = ThreadPlacement.TryKeepThread(processors);
        Sleeper sleeper = _sleepers[worker - 1];
        long seen = before;
        while (true)
        {
            seen = Await(seen, sleeper);
            if (Volatile.Read(ref _stop))
                return;
            if (!Join(seen))
                continue;
            _work(_job, worker);
            Interlocked.Decrement(ref _state.Value);
        }
    }

    /// <summary>Waits until the piece differs from the one <paramref name="seen"/> and returns it.</summary>
    private long Await(long seen, Sleeper sleeper)
    {
        var spinner = new Spinner();
        long now;
        while ((now = Volatile.Read(ref _state.Value) >> PieceShift) == seen)
        {
            if (!spinner.Turn())
                continue;
            Interlocked.Exchange(ref sleeper.Asleep, 1);
            if (Volatile.Read(ref _state.Value) >> PieceShift == seen)
                sleeper.Signal.WaitOne();
            else if (Interlocked.Exchange(ref sleeper.Asleep, 0) == 0)
                sleeper.Signal.WaitOne(); // the caller saw us asleep: its signal is on the way and must not be left over
            spinner = new Spinner();
        }

        return now;
    }

    /// <summary>Counts the worker in, unless the piece is over already.</summary>
    private bool Join(long piece)
    {
        long state = Volatile.Read(ref _state.Value);
        while (state >> PieceShift == piece && (state & Closed) == 0)
        {
            long before = Interlocked.CompareExchange(ref _state.Value, state + 1, state);
            if (before == state)
                return true;
            state = before;
        }

        return false;
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
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Padded
    {
        [FieldOffset(128)]
        public long Value;
    }
}
