using InferenceService.Benchmarks.Reliability;

namespace InferenceService.Benchmarks.Tests.Reliability;

/// <summary>The soak's judge finds each way in which an answer can be wrong.</summary>
public sealed class AnswerReadingTests
{
    private const string Usage = """{"id":"a","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}""";

    [Fact]
    public void A_stream_and_a_whole_answer_of_the_same_text_are_equal()
    {
        var stream = new AnswerReading(1);
        foreach (string data in (string[])[Chunk("On"), Chunk("ce", "stop"), Usage, "[DONE]"])
            stream.Event(data);
        stream.End();
        var whole = new AnswerReading(1);
        whole.Whole("""{"id":"b","choices":[{"index":0,"text":"Once","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}""");
        whole.End();
        Assert.Equal((null, null), (stream.Fault, whole.Fault));
        Assert.Equal(whole.Text, stream.Text);
    }

    [Fact]
    public void Other_text_another_end_and_other_counts_are_told_apart()
    {
        string[] texts = [.. new[] { ("a", "stop", 2), ("b", "stop", 2), ("a", "length", 2), ("a", "stop", 3) }.Select(one =>
        {
            var answer = new AnswerReading(1);
            answer.Whole($$$"""{"id":"b","choices":[{"index":0,"text":"{{{one.Item1}}}","finish_reason":"{{{one.Item2}}}"}],"usage":{"prompt_tokens":3,"completion_tokens":{{{one.Item3}}}}}""");
            return answer.Text;
        })];
        Assert.Equal(4, texts.Distinct().Count());
    }

    [Theory]
    [InlineData("the stream ended without [DONE]", "x|stop", "usage")]
    [InlineData("a choice never ended", "x", "usage", "[DONE]")]
    [InlineData("no usage", "x|stop", "[DONE]")]
    [InlineData("usage twice", "x|stop", "usage", "usage", "[DONE]")]
    [InlineData("an event after [DONE]", "x|stop", "usage", "[DONE]", "[DONE]")]
    [InlineData("a chunk after the end of its choice", "x|stop", "y", "usage", "[DONE]")]
    [InlineData("a chunk after the end of its choice", "x|stop", "y|stop", "usage", "[DONE]")]
    [InlineData("error event shutting_down", "x", "error")]
    public void A_stream_that_ends_otherwise_than_once_is_found(string fault, params string[] events)
    {
        var answer = new AnswerReading(1);
        foreach (string data in events)
        {
            string[] parts = data.Split('|');
            answer.Event(data switch
            {
                "usage" => Usage,
                "[DONE]" => data,
                "error" => """{"error":{"message":"m","type":"t","param":null,"code":"shutting_down"}}""",
                _ => Chunk(parts[0], parts.Length > 1 ? parts[1] : null),
            });
        }

        answer.End();
        Assert.Equal(fault, answer.Fault);
    }

    [Theory]
    [InlineData("the id changed", """{"id":"b","choices":[]}""")]
    [InlineData("there is no choice 1", """{"id":"a","choices":[{"index":1,"text":"x","finish_reason":null}]}""")]
    public void A_chunk_of_another_answer_is_found(string fault, string data)
    {
        var answer = new AnswerReading(1);
        answer.Event(Chunk("x"));
        answer.Event(data);
        Assert.Equal(fault, answer.Fault);
    }

    private static string Chunk(string text, string? finish = null) =>
        $$$"""{"id":"a","choices":[{"index":0,"text":"{{{text}}}","finish_reason":{{{(finish is null ? "null" : $"\"{finish}\"")}}}}]}""";
}
