using System.Buffers;
using System.Numerics;

namespace InferenceService.Server.Api.Requests;

/// <summary>The bytes of one body: rented as they come, counted in the memory of all bodies, given back once.</summary>
internal sealed class BodyBytes : IDisposable
{
    /// <summary>A body above this many bytes is parsed and tokenized in turn: that may take some tens of times its size in memory.</summary>
    private const int LargeBytes = 1 << 20;

    private readonly BodyMemory _memory;
    private byte[] _bytes;
    private int _length;
    private long _counted;
    private bool _hasTurn, _disposed;

    /// <summary>No bytes yet.</summary>
    /// <param name="expected">As many as the sender announces; what does not come is not rented.</param>
    public BodyBytes(BodyMemory memory, long expected) => (_memory, _bytes) = (memory, ArrayPool<byte>.Shared.Rent((int)Math.Clamp(expected, 1024, BodyMemory.FreeBytes)));

    /// <summary>What has come. Valid until more comes, and until disposal.</summary>
    public ReadOnlyMemory<byte> Written => _bytes.AsMemory(0, _length);

    /// <summary>Takes bytes over; false = all bodies together would take too much, and nothing changed.</summary>
    public bool TryAppend(in ReadOnlySequence<byte> more)
    {
        int needed = checked(_length + (int)more.Length);
        if (needed > _bytes.Length && !TryGrow(needed))
            return false;
        more.CopyTo(_bytes.AsSpan(_length));
        _length = needed;
        return true;
    }

    /// <summary>Waits for its turn if it is large, and keeps it until disposal.</summary>
    public async Task TakeTurnAsync(CancellationToken cancellationToken)
    {
        if (_length <= LargeBytes)
            return;
        await _memory.TakeTurnAsync(cancellationToken);
        _hasTurn = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        ArrayPool<byte>.Shared.Return(_bytes);
        _memory.Give(_counted);
        if (_hasTurn)
            _memory.GiveTurn();
    }

    private bool TryGrow(int needed)
    {
        int size = (int)Math.Min((uint)Array.MaxLength, BitOperations.RoundUpToPowerOf2((uint)needed)); // what the pool gives
        long more = Math.Max(0, size - BodyMemory.FreeBytes) - _counted;
        if (more > 0 && !_memory.TryTake(more, _counted))
            return false;
        _counted += more;
        byte[] larger = ArrayPool<byte>.Shared.Rent(size);
        Written.CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = larger;
        return true;
    }
}
