namespace InferenceService.Benchmarks.Reports;

/// <summary>A sample of durations or rates and its percentiles (nearest rank).</summary>
internal sealed class Distribution
{
    private readonly List<double> _values = [];

    public int Count => _values.Count;

    public double Mean => _values.Count == 0 ? double.NaN : _values.Average();

    public double Median => Percentile(50);

    public void Add(double value) => _values.Add(value);

    /// <summary>Adds the values of another sample.</summary>
    public void AddAll(Distribution other) => _values.AddRange(other._values);

    /// <param name="percent">0–100.</param>
    public double Percentile(double percent)
    {
        if (_values.Count == 0)
            return double.NaN;
        double[] sorted = [.. _values.Order()];
        int rank = (int)Math.Ceiling(percent / 100 * sorted.Length) - 1;
        return sorted[Math.Clamp(rank, 0, sorted.Length - 1)];
    }

    /// <summary>p50 / p95 / p99, in milliseconds when the sample is in seconds.</summary>
    public string ToMilliseconds() => Count == 0
        ? "–"
        : $"{Percentile(50) * 1e3:F1} / {Percentile(95) * 1e3:F1} / {Percentile(99) * 1e3:F1} ms";
}
