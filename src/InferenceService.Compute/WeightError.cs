namespace InferenceService.Compute;

/// <summary>What packing lost, summed so that the errors of several matrices add up.</summary>
/// <param name="Lost">Sum of squares of the differences between packed and stored elements.</param>
/// <param name="Total">Sum of squares of the stored elements.</param>
public readonly record struct WeightError(double Lost, double Total)
{
    /// <summary>Root mean square of the error over that of the matrix; 0 when nothing was packed.</summary>
    public double Relative => Total > 0 ? Math.Sqrt(Lost / Total) : 0;

    /// <summary>The error of both together.</summary>
    public static WeightError operator +(WeightError a, WeightError b) => new(a.Lost + b.Lost, a.Total + b.Total);

    /// <inheritdoc cref="op_Addition"/>
    public static WeightError Add(WeightError a, WeightError b) => a + b;
}
