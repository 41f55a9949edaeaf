namespace InferenceService.Server.Security;

/// <summary>What a request was given by its key's limits, until it ends. A request that the engine does not take gives all of it back.</summary>
internal sealed class KeyLease(KeyAccount account, int charged) : IDisposable
{
    private long? _used;
    private int _disposed;

    /// <summary>The request was taken, and has used so many tokens, prompt and answer, by now.</summary>
    public void Use(long tokens) => _used = tokens;

    /// <summary>The request has ended.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            account.Settle(charged, _used);
    }
}
