using System.Buffers;
using System.Text;
using InferenceService.Server.Telemetry;

namespace InferenceService.Server.Tests.Telemetry;

public sealed class PrometheusTextTests
{
    [Fact]
    public void Label_values_are_escaped()
    {
        var buffer = new ArrayBufferWriter<byte>();
        var text = new PrometheusText(buffer);
        text.Family("", "odd", "gauge", "Odd.");
        text.Sample("", "odd", PrometheusText.Label("name", "a\\b\"c\nd"), 1);
        string written = Encoding.UTF8.GetString(buffer.WrittenSpan);
        Assert.Equal("# HELP odd Odd.\n# TYPE odd gauge\nodd{name=\"a\\\\b\\\"c\\nd\"} 1\n", written);
        PrometheusPage.Parse(written);
    }

    [Theory]
    [InlineData(0, "0")]
    [InlineData(1e15, "1000000000000000")]
    [InlineData(0.1, "0.1")]
    [InlineData(double.PositiveInfinity, "+Inf")]
    [InlineData(double.NaN, "NaN")]
    public void Numbers_are_written_so_that_scrapers_read_them_back(double value, string text)
    {
        var buffer = new ArrayBufferWriter<byte>();
        new PrometheusText(buffer).Sample("", "x", "", value);
        Assert.Equal($"x {text}\n", Encoding.UTF8.GetString(buffer.WrittenSpan));
    }

    [Theory]
    [InlineData("a_total 1\n")]
    [InlineData("# HELP a A.\n# TYPE a gauge\na 1\na 1\n")]
    [InlineData("# HELP a A.\n# TYPE a gauge\nb 1\n")]
    [InlineData("# HELP a A.\n# TYPE a counter\na 1\n")]
    [InlineData("# HELP a A.\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n")]
    [InlineData("# HELP a A.\n# TYPE a gauge\na{x=\"\"\"} 1\n")]
    [InlineData("# HELP a A.\n# TYPE a gauge\na 1")]
    [InlineData("# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n")]
    [InlineData("# HELP a A.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n")]
    public void The_reader_of_these_tests_is_strict(string text) => Assert.ThrowsAny<Exception>(() => PrometheusPage.Parse(text));
}
