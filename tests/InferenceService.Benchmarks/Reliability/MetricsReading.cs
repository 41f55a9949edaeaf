using System.Globalization;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>The samples of a <c>/metrics</c> page.</summary>
internal sealed class MetricsReading
{
    private readonly List<(string Name, string Labels, double Value)> _samples = [];

    /// <summary>Asks a server.</summary>
    public static async Task<MetricsReading> OfAsync(HttpClient http, CancellationToken cancellation) => Parse(await http.GetStringAsync("/metrics", cancellation));

    /// <summary>Reads the text format; comments are skipped.</summary>
    public static MetricsReading Parse(string page)
    {
        var reading = new MetricsReading();
        foreach (string line in page.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line[0] == '#')
                continue;
            int space = line.LastIndexOf(' '), brace = line.IndexOf('{', StringComparison.Ordinal);
            int name = brace < 0 ? space : brace;
            reading._samples.Add((line[..name], line[name..space], double.Parse(line.AsSpan(space + 1), CultureInfo.InvariantCulture)));
        }

        return reading;
    }

    /// <summary>Sum over the series of a name, of those whose labels contain a text.</summary>
    /// <exception cref="FormatException">There is none of that name.</exception>
    public double Sum(string name, string labels = "")
    {
        (string Name, string Labels, double Value)[] named = [.. _samples.Where(sample => sample.Name == name)];
        return named.Length > 0
            ? named.Where(sample => sample.Labels.Contains(labels, StringComparison.Ordinal)).Sum(sample => sample.Value)
            : throw new FormatException($"/metrics has no {name}.");
    }
}
