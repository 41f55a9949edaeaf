using InferenceService.Benchmarks.Load;

namespace InferenceService.Benchmarks.Tests.Load;

public sealed class UsageLineTests
{
    [Theory]
    [InlineData("""data: {"choices":[],"usage":{"completion_tokens":128,"prompt_tokens":512,"total_tokens":640}}""", 128)]
    [InlineData("""data: {"choices":[],"usage":{"prompt_tokens":512,"completion_tokens": 1}}""", 1)]
    public void The_count_is_found_wherever_it_stands(string line, int tokens)
    {
        Assert.True(UsageLine.TryRead(line, out int counted));
        Assert.Equal(tokens, counted);
    }

    [Theory]
    [InlineData("""data: {"choices":[{"text":"a","index":0}]}""")]
    [InlineData("""data: {"usage":{"completion_tokens":null}}""")]
    [InlineData("")]
    public void An_event_without_one_has_none(string line) => Assert.False(UsageLine.TryRead(line, out _));
}
