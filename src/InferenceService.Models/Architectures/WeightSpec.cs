namespace InferenceService.Models.Architectures;

/// <summary>One named weight and the shape it must have: [out, in] for a matrix, [1, n] for a vector.</summary>
internal readonly record struct WeightSpec(string Name, int Rows, int Columns)
{
    /// <summary>A weight of one dimension.</summary>
    public static WeightSpec Vector(string name, int length) => new(name, 1, length);

    /// <summary>Number of elements.</summary>
    public long Elements => (long)Rows * Columns;
}
