using InferenceService.Server.Configuration;

namespace InferenceService.Server.Tests.Configuration;

public sealed class HumanValuesTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("32k", 32_000)]
    [InlineData("32K", 32_768)]
    [InlineData("1M", 1 << 20)]
    [InlineData("1m", 1_000_000)]
    [InlineData("25.6k", 25_600)]
    [InlineData("4 GiB", 4L << 30)]
    [InlineData("2Gi", 2L << 30)]
    [InlineData("1T", 1L << 40)]
    [InlineData("-1", -1)]
    [InlineData("9223372036854775807", long.MaxValue)]
    public void Whole_numbers_take_a_factor(string text, long expected)
    {
        Assert.True(HumanValues.TryParseInteger(text, out long value));
        Assert.Equal(expected, value);
    }

    [Theory]
    [InlineData("")]
    [InlineData("k")]
    [InlineData("12q")]
    [InlineData("1.5")]
    [InlineData("0.0001k")]
    [InlineData("1e3")]
    [InlineData("9223372036854775808")]
    [InlineData("99999999999T")]
    [InlineData("1,000")]
    public void What_is_no_whole_number_is_refused(string text) => Assert.False(HumanValues.TryParseInteger(text, out _));

    [Theory]
    [InlineData("60", 60)]
    [InlineData("1.5s", 1.5)]
    [InlineData("250ms", 0.25)]
    [InlineData("2m", 120)]
    [InlineData("1h", 3600)]
    [InlineData("1d", 86_400)]
    [InlineData("-1", -1)]
    [InlineData("00:01:30", 90)]
    public void Durations_take_a_unit(string text, double seconds)
    {
        Assert.True(HumanValues.TryParseDuration(text, out TimeSpan value));
        Assert.Equal(seconds, value.TotalSeconds, precision: 6);
    }

    [Theory]
    [InlineData("")]
    [InlineData("soon")]
    [InlineData("5 weeks")]
    [InlineData("1e300h")]
    [InlineData("NaN")]
    [InlineData("12:99:00")]
    public void What_is_no_duration_is_refused(string text) => Assert.False(HumanValues.TryParseDuration(text, out _));

    [Theory]
    [InlineData(512, "512 B")]
    [InlineData(1536, "1.5 KiB")]
    [InlineData(64L << 20, "64 MiB")]
    [InlineData(5L << 29, "2.5 GiB")]
    public void Bytes_are_shown_in_binary_units(long bytes, string text) => Assert.Equal(text, HumanValues.Bytes(bytes));
}
