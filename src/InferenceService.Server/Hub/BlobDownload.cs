using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using InferenceService.Models;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hub;

/// <summary>Brings one file into the cache: continues what is there, checks all of it, and only then gives it its name.</summary>
/// <remarks>
/// The partial file is named by the hash of the complete contents, so that a file which changed on the hub begins anew, and a process
/// that was killed is continued by the next one. What does not have that hash in the end is deleted.
/// </remarks>
internal sealed class BlobDownload(
    HubClient client, HubRetry retry, HubCache cache, HubDisk disk, TimeProvider time, HubModelId id, string commit, HubFile file, Action<long> arrived) : IDisposable
{
    private const int BufferBytes = 1 << 17;
    private const long Progress = 1 << 20; // an attempt that went so much further than any before begins the count of attempts anew
    private readonly string _blob = cache.BlobPath(id, file.Hash);
    private readonly string _partial = cache.BlobPath(id, file.Hash) + HubCache.PartialEnding;
    private readonly BlobHash _hash = new(file);
    private readonly byte[] _buffer = new byte[BufferBytes];
    private EntityTagHeaderValue? _validator;
    private long _furthest; // never reset: contents that are wrong every time must not be brought for ever

    /// <summary>Downloads it, unless it is there or another process brings it meanwhile.</summary>
    /// <param name="waiting">Called once when another process holds the file.</param>
    /// <exception cref="CheckpointException">It cannot be had; one line that says why.</exception>
    public async Task RunAsync(Action waiting, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_blob)!);
        using FileStream held = await cache.LockAsync(id, file.Hash, time, waiting, cancellationToken);
        if (new FileInfo(_blob) is { Exists: true } there && there.Length == file.Size)
        {
            arrived(file.Size);
            return;
        }

        try
        {
            string subject = $"{file.Name} of \"{id}\"";
            while (!await retry.RunAsync(subject, AttemptAsync, cancellationToken))
                await Task.Delay(HubRetry.FirstDelay, time, cancellationToken); // a connection that broke is not opened again at once
        }
        catch (IOException exception) when (HubDisk.IsFull(exception))
        {
            long have = new FileInfo(_partial) is { Exists: true } part ? part.Length : 0;
            throw new CheckpointException(
                $"The disk of {cache.Root} is full after {HumanValues.Bytes(have)} of {file.Name}, which has {HumanValues.Bytes(file.Size)}; free at least "
                + $"{HumanValues.Bytes(file.Size - have)} and start again: what is there is kept ({_partial}).", exception);
        }

        File.Move(_partial, _blob, overwrite: true);
    }

    /// <inheritdoc/>
    public void Dispose() => _hash.Dispose();

    /// <summary>True = complete and checked; false = it broke, but brought a good piece before.</summary>
    private async Task<bool> AttemptAsync(CancellationToken cancellationToken)
    {
        await using Stream partial = disk.OpenPartial(_partial);
        await ResumeAsync(partial, cancellationToken);
        long before = Math.Max(partial.Length, _furthest);
        try
        {
            if (partial.Length < file.Size)
                await ReceiveAsync(partial, cancellationToken);
        }
        catch (HubTransientException) when (partial.Length - before >= Progress)
        {
            _furthest = partial.Length;
            return false;
        }

        _furthest = file.Size;
        HubDisk.Settle(partial);
        string hash = _hash.Finish();
        if (hash == file.Hash)
            return true;
        Forget(partial);
        throw new HubTransientException($"the checksum is {hash} where the hub states {file.Hash}");
    }

    // What an earlier attempt or process left counts, once it has been read again.
    private async Task ResumeAsync(Stream partial, CancellationToken cancellationToken)
    {
        if (partial.Length > file.Size)
            Forget(partial);
        if (_hash.Length == partial.Length)
        {
            partial.Position = partial.Length;
            return;
        }

        _hash.Restart();
        partial.Position = 0;
        await _hash.AppendAsync(partial, partial.Length, cancellationToken);
        arrived(partial.Length);
    }

    private async Task ReceiveAsync(Stream partial, CancellationToken cancellationToken)
    {
        ByteRange? range = partial.Length == 0 ? null : new ByteRange(partial.Length, _validator);
        using HttpResponseMessage answer = await client.OpenAsync(id, commit, file, range, cancellationToken);
        if (answer.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            Forget(partial);
            throw new HubTransientException("the server has not the range that is missing");
        }

        if (answer.StatusCode != HttpStatusCode.PartialContent)
            Forget(partial); // the server knows no ranges, or what it has is another file than before
        else if (answer.Content.Headers.ContentRange is not { } got || got.From != partial.Length || (got.HasLength && got.Length != file.Size))
            throw Lie(partial, "the server sends another range than asked for");
        if (answer.Content.Headers.ContentLength is { } length && partial.Length + length > file.Size)
            throw Lie(partial, string.Create(CultureInfo.InvariantCulture, $"the server announces {partial.Length + length} bytes where the hub states {file.Size}"));
        _validator = answer.Headers.ETag is { IsWeak: false } tag ? tag : null;
        Stream body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        while (true)
        {
            int read = await client.ReadAsync(body, _buffer, cancellationToken);
            if (read == 0)
                break;
            if (partial.Length + read > file.Size)
                throw Lie(partial, string.Create(CultureInfo.InvariantCulture, $"the server sends more than the {file.Size} bytes that the hub states"));
            await partial.WriteAsync(_buffer.AsMemory(0, read), cancellationToken);
            _hash.Append(_buffer.AsSpan(0, read));
            arrived(partial.Length);
        }

        if (partial.Length < file.Size)
            throw new HubTransientException(string.Create(CultureInfo.InvariantCulture, $"the server ended after {partial.Length} of {file.Size} bytes"));
    }

    private HubTransientException Lie(Stream partial, string message)
    {
        Forget(partial);
        return new HubTransientException(message);
    }

    private void Forget(Stream partial)
    {
        partial.SetLength(0);
        partial.Position = 0;
        _hash.Restart();
        _validator = null;
        arrived(0);
    }
}
