using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace InferenceService.Engine.Cache;

/// <summary>Names the content of a token block: a 128-bit hash of its parent, its tokens and all that changes K and V.</summary>
/// <remarks>
/// The first half of SHA-256 over a chain that starts from a secret of this process, so that equal keys mean equal content and
/// nobody outside can search for a collision. Allocates nothing.
/// </remarks>
internal static class PrefixKey
{
    private const int SecretBytes = 32;

    /// <summary>A fresh secret.</summary>
    public static byte[] NewSecret() => RandomNumberGenerator.GetBytes(SecretBytes);

    /// <summary>Parent of a first block: secret, what changes K and V besides the tokens, and the tenant's salt.</summary>
    public static UInt128 Root(ReadOnlySpan<byte> secret, string content, string? salt)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(secret);
        hash.AppendData(Encoding.UTF8.GetBytes(content));
        // A separator that UTF-8 cannot contain keeps "no salt" apart from any salt.
        hash.AppendData(salt is null ? [0xFF] : [0xFE, .. Encoding.UTF8.GetBytes(salt)]);
        return BinaryPrimitives.ReadUInt128LittleEndian(hash.GetHashAndReset());
    }

    /// <summary>Key of a full block of <paramref name="tokens"/> after <paramref name="parent"/>.</summary>
    public static UInt128 Next(UInt128 parent, ReadOnlySpan<int> tokens)
    {
        const int parentBytes = 16;
        Span<byte> input = stackalloc byte[parentBytes + 64 * sizeof(int)];
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        do
        {
            int count = Math.Min(tokens.Length, 64);
            BinaryPrimitives.WriteUInt128LittleEndian(input, parent);
            MemoryMarshal.AsBytes(tokens[..count]).CopyTo(input[parentBytes..]);
            SHA256.HashData(input[..(parentBytes + count * sizeof(int))], digest);
            parent = BinaryPrimitives.ReadUInt128LittleEndian(digest);
            tokens = tokens[count..];
        }
        while (tokens.Length > 0);
        return parent;
    }
}
