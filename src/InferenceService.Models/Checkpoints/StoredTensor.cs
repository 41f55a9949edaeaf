using System.Collections.Immutable;
using System.Globalization;

namespace InferenceService.Models.Checkpoints;

/// <summary>One entry of a safetensors header, checked against the file.</summary>
/// <param name="Type">Element type as the file spells it.</param>
/// <param name="Shape">Dimensions, outermost first; empty for a scalar.</param>
/// <param name="Offset">First byte, from the start of the file.</param>
/// <param name="Bytes">Length in bytes.</param>
internal readonly record struct StoredTensor(string Type, ImmutableArray<long> Shape, long Offset, long Bytes)
{
    /// <summary>The shape as messages print it.</summary>
    public string ShapeText => $"[{string.Join(", ", Shape.Select(size => size.ToString(CultureInfo.InvariantCulture)))}]";
}
