namespace InferenceService.Engine;

/// <summary>Where the engine thread puts its counters and anybody reads them: a sequence lock, so the writer never waits and allocates nothing.</summary>
internal sealed class StatisticsBoard
{
    private EngineStatistics _value;
    private int _version;

    /// <summary>Engine thread: replaces the counters.</summary>
    public void Publish(in EngineStatistics value)
    {
        Volatile.Write(ref _version, _version + 1);
        Thread.MemoryBarrier();
        _value = value;
        Thread.MemoryBarrier();
        Volatile.Write(ref _version, _version + 1);
    }

    /// <summary>Any thread: the counters of one moment.</summary>
    public EngineStatistics Read()
    {
        var spin = new SpinWait();
        while (true)
        {
            int before = Volatile.Read(ref _version);
            Thread.MemoryBarrier();
            EngineStatistics value = _value;
            Thread.MemoryBarrier();
            if ((before & 1) == 0 && before == Volatile.Read(ref _version))
                return value;
            spin.SpinOnce();
        }
    }
}
