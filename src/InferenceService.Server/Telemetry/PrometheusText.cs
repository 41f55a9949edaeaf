using System.Buffers;
using System.Buffers.Text;
using System.Text;

namespace InferenceService.Server.Telemetry;

/// <summary>Writes the Prometheus text format 0.0.4 as bytes: families, samples, histograms.</summary>
internal sealed class PrometheusText(IBufferWriter<byte> output)
{
    private const int LongestNumber = 40;

    /// <summary>Starts a family: all samples of one name must follow it before the next.</summary>
    public void Family(string prefix, string name, string type, string help)
    {
        Raw("# HELP ");
        Raw(prefix);
        Raw(name);
        Raw(" ");
        Raw(help);
        Raw("\n# TYPE ");
        Raw(prefix);
        Raw(name);
        Raw(" ");
        Raw(type);
        Raw("\n");
    }

    /// <summary>One sample.</summary>
    /// <param name="labels">Rendered labels without braces; empty = none.</param>
    public void Sample(string prefix, string name, string labels, double value)
    {
        Head(prefix, name, "", labels, "", "");
        Number(value);
        Raw("\n");
    }

    /// <summary>The buckets, sum and count of one histogram.</summary>
    public void Histogram(string prefix, string name, string labels, Histogram histogram)
    {
        // Sum first: read in this order it never exceeds what the counts stand for by more than what arrives meanwhile.
        double sum = histogram.Sum;
        long cumulated = 0;
        for (int i = 0; i <= histogram.Bounds.Length; i++)
        {
            cumulated += histogram.Count(i);
            Head(prefix, name, "_bucket", labels, "le", i == histogram.Bounds.Length ? "+Inf" : histogram.BoundTexts[i]);
            Number(cumulated);
            Raw("\n");
        }

        Head(prefix, name, "_sum", labels, "", "");
        Number(sum);
        Raw("\n");
        Head(prefix, name, "_count", labels, "", "");
        Number(cumulated);
        Raw("\n");
    }

    /// <summary>One label, escaped, to be joined with commas.</summary>
    public static string Label(string name, string value) =>
        $"{name}=\"{value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}\"";

    private void Head(string prefix, string name, string suffix, string labels, string extraName, string extraValue)
    {
        Raw(prefix);
        Raw(name);
        Raw(suffix);
        bool extra = extraName.Length > 0;
        if (labels.Length > 0 || extra)
        {
            Raw("{");
            Raw(labels);
            if (extra)
            {
                Raw(labels.Length > 0 ? "," : "");
                Raw(extraName);
                Raw("=\"");
                Raw(extraValue);
                Raw("\"");
            }

            Raw("}");
        }

        Raw(" ");
    }

    private void Number(double value)
    {
        if (!double.IsFinite(value))
        {
            Raw(double.IsNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
            return;
        }

        Utf8Formatter.TryFormat(value, output.GetSpan(LongestNumber), out int written);
        output.Advance(written);
    }

    private void Raw(string text) => Encoding.UTF8.GetBytes(text, output);
}
