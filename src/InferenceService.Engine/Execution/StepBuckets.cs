namespace InferenceService.Engine.Execution;

/// <summary>Sizes to which decode steps are padded, so that few recordings serve all, and little is wasted.</summary>
internal static class StepBuckets
{
    /// <summary>The smallest size that holds so many rows: 1, 2, multiples of 4 to 16, of 8 to 64, of 16 to 128, of 32 to 256, then of 64.</summary>
    /// <param name="rows">Sequences of the step.</param>
    /// <param name="most">The largest step, which is a size itself.</param>
    public static int Of(int rows, int most)
    {
        int unit = rows <= 2 ? 1 : rows <= 16 ? 4 : rows <= 64 ? 8 : rows <= 128 ? 16 : rows <= 256 ? 32 : 64;
        return Math.Min(most, (rows + unit - 1) / unit * unit);
    }

    /// <summary>The next smaller size; 0 below the smallest.</summary>
    public static int Below(int size)
    {
        int rows = size - 1;
        while (rows > 0 && Of(rows, int.MaxValue) != rows)
            rows--;
        return rows;
    }
}
