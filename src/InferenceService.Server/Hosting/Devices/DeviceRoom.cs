namespace InferenceService.Server.Hosting.Devices;

/// <summary>The memory that a device gives one model.</summary>
/// <param name="Bytes">For weights, workspaces, attention sums and KV pool together.</param>
/// <param name="PoolShare">What the pool takes of the memory that the others leave, when no size is stated.</param>
/// <param name="HostBytes">Host memory that preempted sequences may have a share of; null = it is the same memory.</param>
/// <param name="MoreFlag">The flag that gives the pool more.</param>
internal readonly record struct DeviceRoom(long Bytes, double PoolShare, long? HostBytes, string MoreFlag)
{
    /// <summary>Host memory: half of the rest stays for page cache, the managed heap and others.</summary>
    public static DeviceRoom Host(long bytes) => new(bytes, 0.5, null, "--kv-cache-memory-bytes");
}
