using System.Globalization;

namespace InferenceService.Engine;

/// <summary>Counts observations in fixed buckets, for metrics. Lock-free, allocates nothing; any thread may observe while another reads.</summary>
/// <param name="bounds">Upper bounds, ascending, each inclusive; a last bucket without bound is added.</param>
public sealed class Histogram(double[] bounds)
{
    private readonly long[] _counts = new long[bounds.Length + 1];
    private long _sumBits;

    /// <summary>Upper bounds.</summary>
    public double[] Bounds { get; } = bounds;

    /// <summary>Upper bounds as the text format writes them.</summary>
    public string[] BoundTexts { get; } = Array.ConvertAll(bounds, bound => bound.ToString(CultureInfo.InvariantCulture));

    /// <summary>Sum of all observations.</summary>
    public double Sum => BitConverter.Int64BitsToDouble(Interlocked.Read(ref _sumBits));

    /// <summary>Observations in bucket <paramref name="index"/> alone, not cumulated.</summary>
    public long Count(int index) => Interlocked.Read(ref _counts[index]);

    /// <summary>Adds one observation; what is not a number is dropped.</summary>
    public void Observe(double value)
    {
        if (double.IsNaN(value))
            return;
        int bucket = 0;
        while (bucket < Bounds.Length && value > Bounds[bucket])
            bucket++;
        Interlocked.Increment(ref _counts[bucket]);
        long seen = Interlocked.Read(ref _sumBits);
        while (true)
        {
            long wanted = BitConverter.DoubleToInt64Bits(BitConverter.Int64BitsToDouble(seen) + value);
            long before = Interlocked.CompareExchange(ref _sumBits, wanted, seen);
            if (before == seen)
                return;
            seen = before;
        }
    }
}
