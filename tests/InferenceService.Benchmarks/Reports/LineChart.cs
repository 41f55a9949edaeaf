using System.Globalization;
using System.Net;
using System.Text;

namespace InferenceService.Benchmarks.Reports;

/// <summary>Points or lines in one frame, written as SVG: what a benchmark report shows beside its table.</summary>
internal sealed class LineChart(string title, string xLabel, string yLabel)
{
    private const int Width = 880, Height = 460, Left = 80, Right = 250, Top = 50, Bottom = 60;

    // Okabe and Ito's palette: told apart with any colour vision.
    private static readonly string[] Colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933"];

    private readonly List<(string Name, (double X, double Y)[] Points, bool Joined)> _series = [];

    /// <summary>Adds a line with a mark at each point, or marks alone. Points that are not numbers are left out.</summary>
    public void Add(string name, IEnumerable<(double X, double Y)> points, bool joined = true)
    {
        (double X, double Y)[] kept = [.. points.Where(point => double.IsFinite(point.X) && double.IsFinite(point.Y))];
        if (kept.Length > 0)
            _series.Add((name, kept, joined));
    }

    /// <summary>Writes the file.</summary>
    public void Save(string path) => File.WriteAllText(path, ToSvg());

    /// <summary>The chart as an SVG document.</summary>
    public string ToSvg()
    {
        var x = Axis.Of(_series.SelectMany(series => series.Points).Select(point => point.X));
        var y = Axis.Of(_series.SelectMany(series => series.Points).Select(point => point.Y));
        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {Height}\" font-family=\"sans-serif\" font-size=\"13\">\n");
        svg.Append(CultureInfo.InvariantCulture, $"<rect width=\"{Width}\" height=\"{Height}\" fill=\"white\"/>\n");
        Text(svg, Left, 28, title, "start", bold: true);
        Grid(svg, x, y);
        Text(svg, (Left + Width - Right) / 2.0, Height - 16, xLabel, "middle");
        svg.Append(CultureInfo.InvariantCulture, $"<g transform=\"translate(20 {(Top + Height - Bottom) / 2.0:F0}) rotate(-90)\">");
        Text(svg, 0, 0, yLabel, "middle");
        svg.Append("</g>\n");
        for (int i = 0; i < _series.Count; i++)
            Series(svg, i, x, y);
        return svg.Append("</svg>\n").ToString();
    }

    private static void Grid(StringBuilder svg, Axis x, Axis y)
    {
        foreach (double tick in x.Ticks())
        {
            double at = PixelX(x, tick);
            svg.Append(CultureInfo.InvariantCulture, $"<path d=\"M{at:F1} {Top}V{Height - Bottom}\" stroke=\"#ddd\"/>\n");
            Text(svg, at, Height - Bottom + 18, Number(tick), "middle");
        }

        foreach (double tick in y.Ticks())
        {
            double at = PixelY(y, tick);
            svg.Append(CultureInfo.InvariantCulture, $"<path d=\"M{Left} {at:F1}H{Width - Right}\" stroke=\"#ddd\"/>\n");
            Text(svg, Left - 8, at + 4, Number(tick), "end");
        }

        svg.Append(CultureInfo.InvariantCulture, $"<path d=\"M{Left} {Top}V{Height - Bottom}H{Width - Right}\" fill=\"none\" stroke=\"#333\"/>\n");
    }

    private void Series(StringBuilder svg, int index, Axis x, Axis y)
    {
        (string name, (double X, double Y)[] points, bool joined) = _series[index];
        string colour = Colours[index % Colours.Length];
        if (joined && points.Length > 1)
        {
            svg.Append("<path fill=\"none\" stroke-width=\"2\" stroke=\"").Append(colour).Append("\" d=\"");
            for (int i = 0; i < points.Length; i++)
                svg.Append(CultureInfo.InvariantCulture, $"{(i == 0 ? 'M' : 'L')}{PixelX(x, points[i].X):F1} {PixelY(y, points[i].Y):F1}");
            svg.Append("\"/>\n");
        }

        foreach ((double px, double py) in points)
            svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{PixelX(x, px):F1}\" cy=\"{PixelY(y, py):F1}\" r=\"4\" fill=\"{colour}\"/>\n");
        double row = Top + 10 + 20 * index;
        svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{Width - Right + 18}\" cy=\"{row}\" r=\"4\" fill=\"{colour}\"/>\n");
        Text(svg, Width - Right + 30, row + 4, name, "start");
    }

    private static void Text(StringBuilder svg, double x, double y, string text, string anchor, bool bold = false) =>
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x:F1}\" y=\"{y:F1}\" text-anchor=\"{anchor}\"{(bold ? " font-weight=\"bold\"" : "")}>")
            .Append(WebUtility.HtmlEncode(text)).Append("</text>\n");

    private static double PixelX(Axis axis, double value) => Left + axis.Fraction(value) * (Width - Right - Left);

    private static double PixelY(Axis axis, double value) => Height - Bottom - axis.Fraction(value) * (Height - Bottom - Top);

    private static string Number(double value) => value.ToString(Math.Abs(value) >= 10_000 ? "0.##e0" : "0.###", CultureInfo.InvariantCulture);

    /// <summary>A range in steps of 1, 2 or 5 times a power of ten that covers the data and, when it is near, zero.</summary>
    private readonly record struct Axis(double Low, double High, double Step)
    {
        public static Axis Of(IEnumerable<double> values)
        {
            double[] all = [.. values.DefaultIfEmpty(0)];
            double low = all.Min(), high = all.Max();
            if (low > 0 && low < 0.6 * high)
                low = 0;
            double span = high > low ? high - low : Math.Max(1, Math.Abs(high)), power = Math.Pow(10, Math.Floor(Math.Log10(span / 5)));
            double step = power * (span / 5 / power) switch { < 1.5 => 1, < 3.5 => 2, < 7.5 => 5, _ => 10 };
            return new Axis(Math.Floor(low / step) * step, Math.Ceiling((high > low ? high : low + span) / step) * step, step);
        }

        public double Fraction(double value) => (value - Low) / (High - Low);

        public IEnumerable<double> Ticks()
        {
            for (int i = 0; Low + i * Step <= High + Step / 2; i++)
                yield return Low + i * Step;
        }
    }
}
