namespace InferenceService.Engine.Scheduling;

/// <summary>Most that a step may hold.</summary>
/// <param name="Sequences">Ranges, at least 1.</param>
/// <param name="Tokens">Cost of the token budget, at least 1 and no less than <paramref name="Sequences"/>.</param>
internal readonly record struct StepLimit(int Sequences, int Tokens)
{
    /// <summary>One token of one sequence: no step is smaller.</summary>
    public static StepLimit Least => new(1, 1);

    /// <summary>A quarter of this.</summary>
    public StepLimit Smaller() => new(Math.Max(1, Sequences / 4), Math.Max(1, Tokens / 4));

    /// <summary>Twice this, but no more than <paramref name="most"/>.</summary>
    public StepLimit Larger(StepLimit most) =>
        new((int)Math.Min(2L * Sequences, most.Sequences), (int)Math.Min(2L * Tokens, most.Tokens));
}
