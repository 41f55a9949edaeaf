using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Comparison;

/// <summary>One quantity measured on both sides in turn; each round gives one ratio, so that what slows the machine slows both.</summary>
internal sealed class PairedRatio
{
    private readonly Distribution _ours = new();
    private readonly Distribution _theirs = new();
    private readonly Distribution _ratios = new();

    /// <summary>Median of the ratios of all rounds, ours over theirs.</summary>
    public double Median => _ratios.Median;

    /// <summary>Notes a round.</summary>
    /// <exception cref="InvalidOperationException">The other side measured nothing.</exception>
    public void Add(double ours, double theirs)
    {
        if (!(theirs > 0))
            throw new InvalidOperationException($"The other side measured {theirs}; a ratio needs a number above 0.");
        _ours.Add(ours);
        _theirs.Add(theirs);
        _ratios.Add(ours / theirs);
    }

    /// <summary>Median of ours, median of theirs, median ratio, smallest and largest ratio.</summary>
    /// <param name="format">Of a measured value.</param>
    public string[] Cells(Func<double, string> format) =>
    [
        format(_ours.Median), format(_theirs.Median), $"{_ratios.Median:F2}×", $"{_ratios.Percentile(0):F2}–{_ratios.Percentile(100):F2}",
    ];
}
