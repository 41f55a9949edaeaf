namespace InferenceService.Compute.Cpu.Kernels;

/// <summary>How workers share rows: each takes the next few until none are left. Whoever computes a row, its bits are the same.</summary>
internal static class Tickets
{
    /// <summary>First row of the caller's next <paramref name="rows"/> rows.</summary>
    public static int Take(ref int ticket, int rows) => Interlocked.Add(ref ticket, rows) - rows;

    /// <summary>Rows a ticket: a few tickets a worker, so that a worker that was interrupted does not hold up the rest.</summary>
    public static int RowsEach(int rows, int workers) => Math.Max(1, rows / (4 * workers));
}
