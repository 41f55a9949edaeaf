using System.Buffers;
using System.Buffers.Text;
using System.Text;
using InferenceService.Engine;

namespace InferenceService.Server.Telemetry;

/// <summary>Writes the Prometheus text format 0.0.4 as bytes: families, samples, histograms. Allocates nothing.</summary>
internal readonly struct PrometheusText(IBufferWriter<byte> output)
{
    private const int LongestNumber = 40;
    private const int MostBytes = 3;
    private const double MaxExactInteger = 1L << 53;

    /// <summary>Starts a family: all samples of one name must follow it before the next.</summary>
    public void Family(string prefix, string name, string type, string help)
    {
        Span<byte> lines = output.GetSpan(MostBytes * (2 * (prefix.Length + name.Length) + type.Length + help.Length) + 32);
        int end = Put(lines, 0, "# HELP ", prefix, name, " ", help, "\n# TYPE ", prefix, name, " ", type, "\n");
        output.Advance(end);
    }

    /// <summary>One sample.</summary>
    /// <param name="labels">Rendered labels without braces; empty = none.</param>
    public void Sample(string prefix, string name, string labels, double value) => Line(prefix, name, "", labels, "", null, value);

    /// <summary>One sample whose labels come in two parts.</summary>
    /// <param name="labels">Rendered labels without braces, at least one.</param>
    /// <param name="more">The same; empty = none.</param>
    public void Sample(string prefix, string name, string labels, string more, double value) => Line(prefix, name, "", labels, more, null, value);

    /// <summary>The buckets, sum and count of one histogram.</summary>
    public void Histogram(string prefix, string name, string labels, Histogram histogram)
    {
        // Count and last bucket are one number, so they agree even while observations arrive.
        double sum = histogram.Sum;
        long cumulated = 0;
        for (int i = 0; i <= histogram.Bounds.Length; i++)
        {
            cumulated += histogram.Count(i);
            Line(prefix, name, "_bucket", labels, "", i == histogram.Bounds.Length ? "+Inf" : histogram.BoundTexts[i], cumulated);
        }

        Line(prefix, name, "_sum", labels, "", null, sum);
        Line(prefix, name, "_count", labels, "", null, cumulated);
    }

    /// <summary>One label, escaped, to be joined with commas.</summary>
    public static string Label(string name, string value) =>
        $"{name}=\"{value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}\"";

    // One reservation a line: pages have a thousand of them and are fetched many times a second.
    private void Line(string prefix, string name, string suffix, string labels, string more, string? bound, double value)
    {
        int most = MostBytes * (prefix.Length + name.Length + suffix.Length + labels.Length + more.Length + (bound?.Length ?? 0)) + LongestNumber + 16;
        Span<byte> line = output.GetSpan(most);
        int at = Put(line, 0, prefix, name, suffix);
        if (bound is not null)
            at = Put(line, at, "{", labels, labels.Length > 0 ? ",le=\"" : "le=\"", bound, "\"}");
        else if (labels.Length > 0)
            at = Put(line, at, "{", labels, more.Length > 0 ? "," : "", more, "}");
        line[at++] = (byte)' ';
        at = PutNumber(line, at, value);
        line[at++] = (byte)'\n';
        output.Advance(at);
    }

    private static int Put(Span<byte> line, int at, params ReadOnlySpan<string> texts)
    {
        foreach (string text in texts)
            at += Encoding.UTF8.GetBytes(text, line[at..]);
        return at;
    }

    private static int PutNumber(Span<byte> line, int at, double value)
    {
        if (!double.IsFinite(value))
            return Put(line, at, double.IsNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        int written;
        // Most numbers are counts, and integers are written ten times as fast.
        if (Math.Abs(value) <= MaxExactInteger && value == Math.Truncate(value))
            Utf8Formatter.TryFormat((long)value, line[at..], out written);
        else
            Utf8Formatter.TryFormat(value, line[at..], out written);
        return at + written;
    }
}
