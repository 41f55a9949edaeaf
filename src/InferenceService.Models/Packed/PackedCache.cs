using System.Security.Cryptography;
using System.Text;
using InferenceService.Compute;

namespace InferenceService.Models.Packed;

/// <summary>A folder in which packed weights are kept from one start to the next, so that they are rounded once.</summary>
/// <remarks>
/// What lies there is taken for the checkpoint's weights: nobody else may write to the folder. A file that is damaged, of another
/// checkpoint or of another version is left alone with one warning, and replaced once the weights are packed.
/// </remarks>
/// <param name="folder">Where; made when there is none.</param>
/// <param name="facts">Whatever tells the checkpoint's contents from another's.</param>
/// <param name="warn">Told in one line why a file cannot be read or written; the weights are then packed as without a cache.</param>
public sealed class PackedCache(string folder, string facts, Action<string> warn)
{
    /// <summary>The file of these facts; null when the backend's packed bytes are not to be kept.</summary>
    /// <param name="backend">Whose packing it is.</param>
    /// <param name="format">Of the layers' matrices.</param>
    internal PackedWeights? Open(IBackend backend, WeightFormat format)
    {
        if (format == WeightFormat.Stored || backend.PackedLayout is not { } layout)
            return null;
        byte[] key = SHA256.HashData(Encoding.UTF8.GetBytes($"{PackedFile.Version}|{layout}|{format}|{facts}"));
        return new PackedWeights(backend, Path.Combine(folder, $"{Convert.ToHexStringLower(key.AsSpan(0, 8))}.packed"), key, warn);
    }
}
