namespace InferenceService.Server.Api.Requests;

/// <summary>What the bodies of all requests may take while they are read and parsed, and whose turn among the large ones it is.</summary>
/// <param name="mostBytes">Of all bodies together, beyond what each has free. One that is larger is read while it is alone.</param>
internal sealed class BodyMemory(long mostBytes) : IDisposable
{
    /// <summary>Each body has so much that does not count, so that those who send much keep nobody out who sends little.</summary>
    public const int FreeBytes = 1 << 16;

    private readonly SemaphoreSlim _turn = new(1, 1);
    private long _held;

    /// <summary>Bytes that count now.</summary>
    public long Held => Volatile.Read(ref _held);

    /// <summary>Counts more bytes of a body that has some already; false = they would be too many.</summary>
    public bool TryTake(long more, long own)
    {
        while (true)
        {
            long held = Held;
            if (held + more > mostBytes && held > own)
                return false;
            if (Interlocked.CompareExchange(ref _held, held + more, held) == held)
                return true;
        }
    }

    /// <summary>Gives counted bytes back.</summary>
    public void Give(long bytes) => Interlocked.Add(ref _held, -bytes);

    /// <summary>Waits until no other large body is being parsed.</summary>
    public Task TakeTurnAsync(CancellationToken cancellationToken) => _turn.WaitAsync(cancellationToken);

    /// <summary>Lets the next large body be parsed.</summary>
    public void GiveTurn() => _turn.Release();

    /// <inheritdoc/>
    public void Dispose() => _turn.Dispose();
}
