namespace InferenceService.Engine.Cache;

/// <summary>How long cached blocks live and lie idle, counted on a sample of the pool: at most <see cref="MostSampled"/> blocks, evenly spread.</summary>
/// <remarks>Time is that of the step, so that moving a block costs no look at the clock. Engine thread only, but for the histograms.</remarks>
internal sealed class BlockAges
{
    /// <summary>Most blocks that are watched.</summary>
    public const int MostSampled = 1024;

    private static readonly double[] Bounds = [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800];

    private readonly int _stride;
    private readonly double _secondsPerTick;
    private readonly long[] _taken;
    private readonly long[] _released;

    /// <summary>Watches a pool of <paramref name="blocks"/> blocks.</summary>
    /// <param name="blocks">Blocks of the pool.</param>
    /// <param name="frequency">Ticks of <see cref="Now"/> a second.</param>
    public BlockAges(int blocks, long frequency)
    {
        _stride = (blocks + MostSampled - 1) / MostSampled;
        _secondsPerTick = 1.0 / frequency;
        _taken = new long[(blocks + _stride - 1) / _stride];
        _released = new long[_taken.Length];
    }

    /// <summary>Monotonic time of the step.</summary>
    public long Now { get; set; }

    /// <summary>Seconds from a block's first use until its cached content was given up.</summary>
    public Histogram Lifetime { get; } = new(Bounds);

    /// <summary>Seconds from a block's last use until its cached content was given up.</summary>
    public Histogram IdleBeforeEviction { get; } = new(Bounds);

    /// <summary>Seconds that a cached block lay unused until a prompt found it again.</summary>
    public Histogram ReuseGap { get; } = new(Bounds);

    /// <summary>A free block gets its first reference.</summary>
    public void Taken(int block)
    {
        if (block % _stride == 0)
            _taken[block / _stride] = Now;
    }

    /// <summary>A block has lost its last reference.</summary>
    public void Released(int block)
    {
        if (block % _stride == 0)
            _released[block / _stride] = Now;
    }

    /// <summary>A cached block without references gets one.</summary>
    public void Reused(int block)
    {
        if (block % _stride == 0)
            ReuseGap.Observe(Since(_released[block / _stride]));
    }

    /// <summary>A cached block without references loses its content.</summary>
    public void Evicted(int block)
    {
        if (block % _stride != 0)
            return;
        Lifetime.Observe(Since(_taken[block / _stride]));
        IdleBeforeEviction.Observe(Since(_released[block / _stride]));
    }

    private double Since(long then) => (Now - then) * _secondsPerTick;
}
