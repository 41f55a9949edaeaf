using System.Globalization;
using System.Text.RegularExpressions;

namespace InferenceService.Server.Tests.Telemetry;

/// <summary>A strict reader of the Prometheus text format 0.0.4; throws where a scraper would complain, and where it would only be lenient.</summary>
/// <remarks>Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format details), read for its rules.</remarks>
internal sealed partial class PrometheusPage
{
    private readonly Dictionary<string, string> _types = [];
    private readonly Dictionary<string, string> _help = [];
    private readonly Dictionary<string, string> _labels = [];
    private readonly Dictionary<string, double> _samples = [];
    private readonly HashSet<string> _closed = [];
    private string? _family;
    private string? _helped;

    /// <summary>Type by family name.</summary>
    public IReadOnlyDictionary<string, string> Types => _types;

    /// <summary>Help by family name.</summary>
    public IReadOnlyDictionary<string, string> Help => _help;

    /// <summary>Names of the labels by family name, as they come, without the bucket's; a family without samples has none.</summary>
    public IReadOnlyDictionary<string, string> Labels => _labels;

    /// <summary>Value by series: name and labels as written.</summary>
    public IReadOnlyDictionary<string, double> Samples => _samples;

    public static PrometheusPage Parse(string text)
    {
        var page = new PrometheusPage();
        Require(text.EndsWith('\n'), "the last line has no end", text[^Math.Min(40, text.Length)..]);
        foreach (string line in text[..^1].Split('\n'))
            page.Line(line);
        page.CheckHistograms();
        return page;
    }

    /// <summary>Value of the only series whose name is <paramref name="name"/> and whose labels contain all of <paramref name="labels"/>.</summary>
    public double Value(string name, params string[] labels) =>
        Assert.Single(_samples, sample => NameOf(sample.Key) == name && labels.All(label => sample.Key.Contains(label, StringComparison.Ordinal))).Value;

    /// <summary>Upper bounds of a histogram, the last one included.</summary>
    public string[] Bounds(string name) =>
        [.. _samples.Keys.Where(key => NameOf(key) == name + "_bucket").Select(key => LePattern().Match(key).Groups[1].Value)];

    private void Line(string line)
    {
        if (line.StartsWith("# HELP ", StringComparison.Ordinal))
        {
            string name = line.Split(' ')[2];
            Require(!_types.ContainsKey(name), "a family comes twice", line);
            Require(line.Length > 8 + name.Length, "no help", line);
            _help[name] = line[(8 + name.Length)..];
            _helped = name;
        }
        else if (line.StartsWith("# TYPE ", StringComparison.Ordinal))
        {
            string[] words = line.Split(' ');
            Require(words.Length == 4 && words[3] is "counter" or "gauge" or "histogram" or "summary", "not a type", line);
            Require(words[2] == _helped, "the help of another family, or none", line);
            Require(FamilyName().IsMatch(words[2]), "not a name", line);
            if (_family is not null)
                _closed.Add(_family);
            _family = words[2];
            Require(_types.TryAdd(_family, words[3]) && !_closed.Contains(_family), "a family comes twice", line);
            Require(words[3] != "counter" || _family.EndsWith("_total", StringComparison.Ordinal), "a counter must end in _total", line);
        }
        else
        {
            Sample(line);
        }
    }

    private void Sample(string line)
    {
        Match match = SamplePattern().Match(line);
        Require(match.Success, "not a sample", line);
        string name = match.Groups["name"].Value, type = _types[_family!];
        string[] suffixes = type switch { "histogram" => ["_bucket", "_sum", "_count"], "summary" => ["_sum", "_count"], _ => [""] };
        Require(suffixes.Any(suffix => name == _family + suffix), "a sample outside its family", line);
        double value = match.Groups["value"].Value switch
        {
            "+Inf" => double.PositiveInfinity,
            "-Inf" => double.NegativeInfinity,
            "NaN" => double.NaN,
            string number => double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture),
        };
        Require(type is "gauge" or "summary" || value >= 0, "a negative count", line);
        string[] labels = [.. LabelPattern().Matches(match.Groups["labels"].Value).Select(label => label.Groups[1].Value)];
        Require(labels.Distinct().Count() == labels.Length, "a label comes twice", line);
        string names = string.Join(", ", labels.Where(label => label != "le" || type != "histogram"));
        Require(_labels.TryAdd(_family!, names) || _labels[_family!] == names, "other labels than the family's first sample", line);
        Require(_samples.TryAdd(line[..line.LastIndexOf(' ')], value), "a series comes twice", line);
    }

    // Buckets ascend in bound and count; the last has no bound and equals the count.
    private void CheckHistograms()
    {
        foreach (string family in _types.Where(type => type.Value == "histogram").Select(type => type.Key))
        {
            IEnumerable<IGrouping<string, KeyValuePair<string, double>>> series = _samples
                .Where(sample => NameOf(sample.Key) == family + "_bucket")
                .GroupBy(sample => LePattern().Replace(sample.Key, "").Replace(family + "_bucket", "", StringComparison.Ordinal));
            foreach (IGrouping<string, KeyValuePair<string, double>> one in series)
            {
                double lastBound = double.NegativeInfinity, lastCount = 0;
                foreach ((string key, double count) in one)
                {
                    string text = LePattern().Match(key).Groups[1].Value;
                    double bound = text == "+Inf" ? double.PositiveInfinity : double.Parse(text, CultureInfo.InvariantCulture);
                    Require(bound > lastBound && count >= lastCount, "buckets must ascend", key);
                    (lastBound, lastCount) = (bound, count);
                }

                string labels = one.Key.Replace(",}", "}", StringComparison.Ordinal).Replace("{}", "", StringComparison.Ordinal);
                Require(double.IsPositiveInfinity(lastBound), "no bucket without bound", family);
                Require(_samples.TryGetValue(family + "_count" + labels, out double total) && total == lastCount, "count and last bucket differ", family + labels);
                Require(_samples.ContainsKey(family + "_sum" + labels), "no sum", family + labels);
            }
        }
    }

    private static string NameOf(string series) => series.Split('{')[0];

    private static void Require(bool condition, string problem, string where)
    {
        if (!condition)
            throw new FormatException($"{problem}: {where}");
    }

    [GeneratedRegex("^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
    private static partial Regex FamilyName();

    [GeneratedRegex("""^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?<labels>[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\\\|\\"|\\n)*"(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\\\|\\"|\\n)*")*)\})? (?<value>\S+)$""")]
    private static partial Regex SamplePattern();

    [GeneratedRegex("""([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\]|\\.)*",?""")]
    private static partial Regex LabelPattern();

    [GeneratedRegex("""le="([^"]*)",?""")]
    private static partial Regex LePattern();
}
