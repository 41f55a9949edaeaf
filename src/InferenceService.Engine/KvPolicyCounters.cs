namespace InferenceService.Engine;

/// <summary>What requests with one KV policy have done since start. Any thread reads.</summary>
public sealed class KvPolicyCounters
{
    private readonly int _groups;
    private long _requests;
    private long _droppedSlots;
    private long _bytes;
    private long _bytesFull;
    private long _deviceBytes;
    private long _hostBytes;

    internal KvPolicyCounters(string name, int groups) => (Name, _groups) = (name, groups);

    /// <summary>The policy's name.</summary>
    public string Name { get; }

    /// <summary>Requests accepted.</summary>
    public long Requests => Interlocked.Read(ref _requests);

    /// <summary>Tokens dropped while their request went on: the mean over the lanes.</summary>
    public long EvictedTokens => Interlocked.Read(ref _droppedSlots) / _groups;

    /// <summary>Bytes that ended choices held at their end, as in <see cref="KvUsage.Bytes"/>.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Bytes that they would have held, as in <see cref="KvUsage.BytesFull"/>.</summary>
    public long BytesFull => Interlocked.Read(ref _bytesFull);

    /// <summary>How many times less; 1 before the first choice ended.</summary>
    public double CompressionRatio => Bytes == 0 ? 1 : (double)BytesFull / Bytes;

    /// <summary>Bytes of the blocks that living sequences held a moment ago; a block that several share counts for each.</summary>
    public long DeviceBytes => Interlocked.Read(ref _deviceBytes);

    /// <summary>Host memory of preempted sequences: their K and V, and the attention sums saved with them.</summary>
    public long HostBytes => Interlocked.Read(ref _hostBytes);

    internal void SetHeld(long device, long host)
    {
        Interlocked.Exchange(ref _deviceBytes, device);
        Interlocked.Exchange(ref _hostBytes, host);
    }

    internal void CountRequest() => Interlocked.Increment(ref _requests);

    internal void CountDropped(long slots) => Interlocked.Add(ref _droppedSlots, slots);

    internal void CountEnd(in KvUsage usage)
    {
        Interlocked.Add(ref _bytes, usage.Bytes);
        Interlocked.Add(ref _bytesFull, usage.BytesFull);
    }
}
