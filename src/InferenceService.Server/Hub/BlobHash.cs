using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace InferenceService.Server.Hub;

/// <summary>Computes the name that contents have in the cache, while they arrive.</summary>
internal sealed class BlobHash : IDisposable
{
    private readonly HubFile _file;
    private readonly IncrementalHash _hash;

    /// <summary>Begins with nothing.</summary>
    public BlobHash(HubFile file)
    {
        _file = file;
        // SHA-1 is what git names a blob by; large files and therefore all weights have SHA-256.
        _hash = IncrementalHash.CreateHash(file.Hash.Length == 64 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1);
        Restart();
    }

    /// <summary>Bytes that have been added.</summary>
    public long Length { get; private set; }

    /// <summary>Adds the next bytes.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        _hash.AppendData(bytes);
        Length += bytes.Length;
    }

    /// <summary>Forgets everything.</summary>
    public void Restart()
    {
        _hash.TryGetHashAndReset(stackalloc byte[SHA256.HashSizeInBytes], out _);
        Length = 0;
        if (_file.Hash.Length == 40)
            _hash.AppendData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {_file.Size}\0")));
    }

    /// <summary>The hash of everything that was added, in lower-case hexadecimal; begins anew.</summary>
    public string Finish()
    {
        string text = Convert.ToHexStringLower(_hash.GetHashAndReset());
        Restart();
        return text;
    }

    /// <summary>The hash of what a stream holds.</summary>
    public static async Task<string> OfAsync(HubFile file, Stream contents, CancellationToken cancellationToken)
    {
        using var hash = new BlobHash(file);
        await hash.AppendAsync(contents, long.MaxValue, cancellationToken);
        return hash.Finish();
    }

    /// <summary>Adds what a stream holds, at most so many bytes.</summary>
    public async Task AppendAsync(Stream contents, long most, CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[1 << 16];
        while (most > 0)
        {
            int read = await contents.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, most)), cancellationToken);
            if (read == 0)
                return;
            Append(buffer.AsSpan(0, read));
            most -= read;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _hash.Dispose();
}
