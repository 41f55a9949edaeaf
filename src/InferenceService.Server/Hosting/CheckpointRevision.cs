using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

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

    /// <summary>
    /// The same with names and times of the weight files: what one machine may keep about contents that <see cref="Of"/> has not read.
    /// </summary>
    public static string ExactFacts(string folder, byte[] revision)
    {
        var facts = new StringBuilder(Convert.ToHexString(revision));
        foreach (string path in Directory.EnumerateFiles(folder, "*.safetensors").Order(StringComparer.Ordinal))
            facts.Append(CultureInfo.InvariantCulture, $"|{Path.GetFileName(path)}:{(File.ResolveLinkTarget(path, returnFinalTarget: true) ?? new FileInfo(path)).LastWriteTimeUtc.Ticks}");
        return facts.ToString();
    }
}
