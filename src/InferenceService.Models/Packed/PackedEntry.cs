using InferenceService.Compute;

namespace InferenceService.Models.Packed;

/// <summary>One packed matrix in a file.</summary>
/// <param name="Name">Names of the weights it is made of, in order.</param>
/// <param name="Format">How elements are held.</param>
/// <param name="Rows">Output channels.</param>
/// <param name="Columns">Input features.</param>
/// <param name="Offset">First byte in the file.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Checksum">CRC-32C of them.</param>
/// <param name="Errors">What packing lost, of each part.</param>
internal sealed record PackedEntry(string Name, WeightFormat Format, int Rows, int Columns, long Offset, long Length, uint Checksum, WeightError[] Errors);
