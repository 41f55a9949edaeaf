namespace InferenceService.Compute;

/// <summary>Room on the host for one small copy that is waited for later, while what was called after it runs on; see <see cref="IBackend.AllocateReadback"/>.</summary>
public abstract class Readback : IDisposable
{
    /// <summary>Copies a dense tensor behind all operations so far. What an earlier copy brought is lost.</summary>
    /// <exception cref="ShapeException">The tensor is larger than the room.</exception>
    public abstract void Start(Tensor device);

    /// <summary>Waits for the copy, not for operations called after <see cref="Start"/>.</summary>
    /// <returns>The tensor's bytes, valid until the next <see cref="Start"/>.</returns>
    public abstract ReadOnlySpan<byte> Wait();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the room back.</summary>
    protected abstract void Dispose(bool disposing);

    /// <summary>Refuses a tensor that does not fit.</summary>
    /// <exception cref="ShapeException">It is larger than <paramref name="room"/> bytes, or not dense.</exception>
    protected static int Fit(in Tensor device, int room) => device.IsDense && device.ByteLength <= room
        ? (int)device.ByteLength
        : throw new ShapeException($"A {device.Type} tensor [{device.Rows}, {device.Columns}] does not fit a readback of {room} bytes, or has holes.");
}

/// <summary>Where a copy to the host waits anyway.</summary>
internal sealed class WaitingReadback(IBackend backend, int bytes) : Readback
{
    private readonly byte[] _bytes = new byte[bytes];
    private int _length;

    public override void Start(Tensor device)
    {
        _length = Fit(device, _bytes.Length);
        backend.Download(device, _bytes);
    }

    public override ReadOnlySpan<byte> Wait() => _bytes.AsSpan(0, _length);

    protected override void Dispose(bool disposing)
    {
    }
}
