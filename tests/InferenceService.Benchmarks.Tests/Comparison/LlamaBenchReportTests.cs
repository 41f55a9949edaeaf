using InferenceService.Benchmarks.Comparison;

namespace InferenceService.Benchmarks.Tests.Comparison;

public sealed class LlamaBenchReportTests
{
    // The fields that matter of what llama-bench -o json prints (build 10587), in its order and layout.
    private const string Printed = """
        [
          {
            "build_commit": "3f545becc",
            "build_number": 10587,
            "model_type": "llama 1B Q8_0",
            "n_threads": 2,
            "n_prompt": 512,
            "n_gen": 0,
            "avg_ns": 409000000,
            "avg_ts": 1251.834,
            "samples_ts": [ 1251.83 ]
          },
          {
            "build_commit": "3f545becc",
            "build_number": 10587,
            "model_type": "llama 1B Q8_0",
            "n_threads": 2,
            "n_prompt": 0,
            "n_gen": 128,
            "avg_ns": 820000000,
            "avg_ts": 156.097,
            "samples_ts": [ 156.097 ]
          }
        ]
        """;

    [Fact]
    public void Rates_are_those_of_the_two_tests() =>
        Assert.Equal(new LlamaBenchReport("3f545becc", "llama 1B Q8_0", 1251.834, 156.097), LlamaBenchReport.Parse(Printed, 512, 128));

    [Fact]
    public void A_test_that_was_not_run_is_named()
    {
        var error = Assert.Throws<FormatException>(() => LlamaBenchReport.Parse(Printed, 512, 64));
        Assert.Equal("llama-bench: no test of 0 prompt and 64 generated tokens in its output.", error.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("error: unknown argument")]
    [InlineData("{}")]
    [InlineData("""[{"n_prompt": "512"}]""")]
    [InlineData("[1]")]
    public void Other_output_is_refused(string printed) => Assert.Throws<FormatException>(() => LlamaBenchReport.Parse(printed, 512, 128));

    [Fact]
    public void A_rate_of_zero_is_refused() =>
        Assert.Throws<FormatException>(() => LlamaBenchReport.Parse(Printed.Replace("1251.834", "0", StringComparison.Ordinal), 512, 128));
}
