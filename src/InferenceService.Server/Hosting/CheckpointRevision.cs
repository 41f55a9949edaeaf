using System.Buffers.Binary;
using System.Security.Cryptography;

namespace InferenceService.Server.Hosting;

/// <summary>Tells one checkpoint's contents from another's without reading all weights.</summary>
internal static class CheckpointRevision
{
    private const int SampledBytes = 64 * 1024;

    /// <summary>Hash over config.json and, of each weight file, its length, beginning and end: equal on every machine with equal files.</summary>
    public static byte[] Of(string folder)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> length = stackalloc byte[sizeof(long)];
        byte[] buffer = new byte[SampledBytes];
        IEnumerable<string> files = Directory.EnumerateFiles(folder, "*.safetensors").Order(StringComparer.Ordinal);
        foreach (string path in files.Prepend(Path.Combine(folder, "config.json")))
        {
            using FileStream file = File.OpenRead(path);
            BinaryPrimitives.WriteInt64LittleEndian(length, file.Length);
            hash.AppendData(length);
            hash.AppendData(buffer.AsSpan(0, file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false)));
            file.Position = Math.Max(file.Position, file.Length - SampledBytes);
            hash.AppendData(buffer.AsSpan(0, file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false)));
        }

        return hash.GetHashAndReset();
    }
}
