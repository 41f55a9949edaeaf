using System.Text;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Tests.Generation;

public sealed class StopSequencesTests
{
    [Theory]
    [InlineData("abcdef", "abcdef", null, "x")]
    [InlineData("abcdef", "ab", "cd", "cd")]
    [InlineData("aaab", "a", "aab", "aab")]
    [InlineData("ababac", "ab", "abac", "abac")]
    [InlineData("xabc", "xab", "c", "abcd", "c")]
    [InlineData("xabc", "x", "abc", "c", "bc", "abc")]
    [InlineData("abab", "abab", null, "aba!")]
    [InlineData("abaaba!", "aba", "aba!", "aba!")]
    [InlineData("wait 😀😁", "wait 😀", "😁", "😁")]
    [InlineData("wait 😀", "wait 😀", null, "😁")]
    public void Text_ends_where_the_first_stop_string_is_complete(string text, string expected, string? found, params string[] stops)
    {
        foreach (int size in (int[])[1, 2, 3, text.Length])
        {
            (string output, string? stop) = Run(text, [.. Enumerable.Range(0, (text.Length + size - 1) / size).Select(_ => size)], stops, include: false);
            Assert.Equal(expected, output);
            Assert.Equal(found, stop);
        }
    }

    [Fact]
    public void A_found_stop_string_is_kept_on_request() =>
        Assert.Equal(("one two", " two"), Run("one two three", [5, 2, 100], [" two"], include: true));

    [Fact]
    public void Only_what_may_become_a_stop_string_is_held_back()
    {
        StopSequences.Scanner scanner = new StopSequences(["\nUser:", "END"]).NewScanner();
        var output = new TextBuffer();
        Assert.False(scanner.Push("hello", includeStop: false, output));
        Assert.Equal("hello", output.ToString());
        Assert.False(scanner.Push(" EN", includeStop: false, output));
        Assert.Equal("hello ", output.ToString());
        Assert.False(scanner.Push("E", includeStop: false, output));
        Assert.Equal("hello EN", output.ToString());
        scanner.Flush(output);
        Assert.Equal("hello ENE", output.ToString());
    }

    [Fact]
    public void Every_split_of_a_text_gives_the_same_result_as_a_plain_search()
    {
        for (int seed = 0; seed < 2000; seed++)
        {
            var random = new Random(seed);
            string text = Letters(random, random.Next(0, 40));
            string[] stops = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Letters(random, random.Next(1, 6)))];
            bool include = random.Next(2) == 0;
            (string expected, string? stop) = Search(text, stops, include);
            for (int round = 0; round < 3; round++)
            {
                int[] cuts = [.. Enumerable.Range(0, 60).Select(_ => random.Next(0, 5))];
                (string output, string? found) = Run(text, cuts, stops, include);
                Assert.True(expected == output && stop == found, $"seed {seed}: \"{text}\" with [{string.Join(", ", stops)}] gave \"{output}\" and {found}, not \"{expected}\" and {stop}");
            }
        }
    }

    /// <summary>The oracle: looks at every end, at every stop string.</summary>
    private static (string Output, string? Stop) Search(string text, string[] stops, bool include)
    {
        for (int end = 1; end <= text.Length; end++)
        {
            string? stop = stops.Where(s => text.AsSpan(0, end).EndsWith(s)).MaxBy(s => s.Length);
            if (stop is not null)
                return (text[..(include ? end : end - stop.Length)], stop);
        }

        return (text, null);
    }

    private static (string Output, string? Stop) Run(string text, int[] pieces, string[] stops, bool include)
    {
        StopSequences.Scanner scanner = new StopSequences(stops).NewScanner();
        var output = new TextBuffer();
        var sent = new StringBuilder();
        int at = 0;
        foreach (int size in pieces.Append(text.Length))
        {
            int end = Math.Min(text.Length, at + size);
            bool found = scanner.Push(text.AsSpan(at, end - at), include, output);
            sent.Append(output.Span);
            output.Clear();
            if (found)
                return (sent.ToString(), scanner.Found);
            at = end;
        }

        scanner.Flush(output);
        return (sent.Append(output.Span).ToString(), null);
    }

    private static string Letters(Random random, int count) => string.Concat(Enumerable.Range(0, count).Select(_ => (char)('a' + random.Next(2))));
}
