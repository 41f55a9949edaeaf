using System.Text;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api;

/// <summary>A stream, put together, is the whole answer: text, log-probabilities, ids, ends and usage, at every interval.</summary>
[Collection(ServerCollection.Name)]
public sealed class StreamEqualsWholeTests(ServerFixture fixture)
{
    private static readonly string[] Fields =
    [
        "'max_tokens':30,'temperature':0",
        "'max_tokens':60,'seed':7,'n':3",
        $"'max_tokens':80,'seed':1,'n':2,'allowed_token_ids':{ApiClient.ByteIds("😀é")}",
        $"'max_tokens':80,'seed':3,'n':4,'allowed_token_ids':{ApiClient.ByteIds("ab")},'stop':['abba','bab']",
        $"'max_tokens':80,'seed':3,'n':4,'allowed_token_ids':{ApiClient.ByteIds("ab")},'stop':['abba','bab'],'min_tokens':20,'include_stop_str_in_output':true",
        $"'max_tokens':40,'seed':5,'n':2,'allowed_token_ids':{ApiClient.ByteIds("abc")},'stop_token_ids':{ApiClient.ByteIds("c")},'return_token_ids':true",
        "'max_tokens':20,'seed':2,'logit_bias':{'1':100},'min_tokens':4",
        "'max_tokens':20,'seed':2,'echo':true,'return_tokens_as_token_ids':true",
    ];

    public static TheoryData<string, string, int> Cases
    {
        get
        {
            var cases = new TheoryData<string, string, int>();
            foreach (string fields in Fields)
            {
                foreach (int interval in (int[])[1, 2, 7, 100])
                {
                    cases.Add("/v1/completions", $"'prompt':['Once','Twice'],'logprobs':2,{fields}", interval);
                    cases.Add("/v1/chat/completions", $"'messages':[{{'role':'assistant','content':'Hé'}}],'logprobs':true,'top_logprobs':1,{fields}", interval);
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task A_stream_put_together_is_the_whole_answer(string path, string fields, int interval)
    {
        bool chat = path.Contains("chat", StringComparison.Ordinal);
        JsonElement whole = await ApiClient.PostAsync(fixture.Server.Client, path, Json(fields));
        List<string> events = await ApiClient.StreamAsync(
            fixture.Server.Client, path, Json($"{fields},'stream':true,'stream_interval':{interval},'stream_options':{{'include_usage':true}}"));

        Assert.Equal("[DONE]", events[^1]);
        Assert.Single(events, data => data == "[DONE]");
        JsonElement[] chunks = [.. events.SkipLast(1).Select(data => JsonDocument.Parse(data).RootElement)];
        AssertHeads(chunks, chat ? "chat.completion.chunk" : "text_completion");
        AssertUsage(whole, chunks);
        Assert.All(chunks.SkipLast(1), chunk => Assert.Equal(1, chunk.GetProperty("choices").GetArrayLength()));
        foreach (JsonElement choice in whole.GetProperty("choices").EnumerateArray())
        {
            int index = choice.GetProperty("index").GetInt32();
            JsonElement[] parts = [.. chunks.SkipLast(1).Select(chunk => chunk.GetProperty("choices")[0]).Where(part => part.GetProperty("index").GetInt32() == index)];
            AssertChoice(choice, parts, chat);
        }
    }

    [Fact]
    public async Task Running_usage_grows_in_every_chunk()
    {
        List<string> events = await ApiClient.StreamAsync(
            fixture.Server.Client, "/v1/completions", Json("'prompt':'Once','max_tokens':6,'ignore_eos':true,'seed':5,'stream':true,'stream_options':{'include_usage':true,'continuous_usage_stats':true}"));
        int[] counts = [.. events.SkipLast(1).Select(data => JsonDocument.Parse(data).RootElement.GetProperty("usage").GetProperty("completion_tokens").GetInt32())];
        Assert.Equal(counts.Order(), counts);
        Assert.Equal((1, 6), (counts[0], counts[^1]));
    }

    [Fact]
    public async Task Without_the_option_no_chunk_speaks_of_usage()
    {
        List<string> events = await ApiClient.StreamAsync(fixture.Server.Client, "/chat/completions", Json("'messages':[{'role':'user','content':'a'}],'max_tokens':4,'stream':true"));
        Assert.All(events.SkipLast(1), data => Assert.False(JsonDocument.Parse(data).RootElement.TryGetProperty("usage", out _)));
    }

    private static void AssertHeads(JsonElement[] chunks, string kind)
    {
        Assert.All(chunks, chunk => Assert.Equal(kind, chunk.GetProperty("object").GetString()));
        foreach (string name in (string[])["id", "created", "model", "system_fingerprint"])
            Assert.Single(chunks.Select(chunk => chunk.GetProperty(name).GetRawText()).Distinct());
    }

    private static void AssertUsage(JsonElement whole, JsonElement[] chunks)
    {
        Assert.Equal(0, chunks[^1].GetProperty("choices").GetArrayLength());
        Assert.All(chunks.SkipLast(1), chunk => Assert.Equal(JsonValueKind.Null, chunk.GetProperty("usage").ValueKind));
        foreach (string name in (string[])["prompt_tokens", "completion_tokens", "total_tokens"])
            Assert.Equal(whole.GetProperty("usage").GetProperty(name).GetInt32(), chunks[^1].GetProperty("usage").GetProperty(name).GetInt32());
    }

    private static void AssertChoice(JsonElement choice, JsonElement[] parts, bool chat)
    {
        var text = new StringBuilder();
        var logprobs = new List<string>();
        var ids = new List<int>();
        foreach (JsonElement part in parts)
        {
            if (!chat)
                text.Append(part.GetProperty("text").GetString());
            else if (part.GetProperty("delta").TryGetProperty("content", out JsonElement content))
                text.Append(content.GetString());
            logprobs.AddRange(Tokens(part, chat));
            if (part.TryGetProperty("token_ids", out JsonElement partIds))
                ids.AddRange(partIds.EnumerateArray().Select(id => id.GetInt32()));
        }

        string expected = chat ? choice.GetProperty("message").GetProperty("content").GetString()! : choice.GetProperty("text").GetString()!;
        Assert.Equal(expected, text.ToString());
        Assert.Equal(Tokens(choice, chat), logprobs);
        if (choice.TryGetProperty("token_ids", out JsonElement wholeIds))
            Assert.Equal(wholeIds.EnumerateArray().Select(id => id.GetInt32()), ids);
        Assert.All(parts.SkipLast(1), part => Assert.Equal(JsonValueKind.Null, part.GetProperty("finish_reason").ValueKind));
        Assert.Equal(choice.GetProperty("finish_reason").GetString(), parts[^1].GetProperty("finish_reason").GetString());
        Assert.Equal(choice.GetProperty("stop_reason").GetRawText(), parts[^1].GetProperty("stop_reason").GetRawText());
        if (chat)
            Assert.Equal("assistant", parts[0].GetProperty("delta").GetProperty("role").GetString());
    }

    /// <summary>Every token's entry as one string, whatever the shape.</summary>
    private static List<string> Tokens(JsonElement choice, bool chat)
    {
        JsonElement logprobs = choice.GetProperty("logprobs");
        if (logprobs.ValueKind == JsonValueKind.Null)
            return [];
        if (chat)
            return [.. logprobs.GetProperty("content").EnumerateArray().Select(token => token.GetRawText())];
        string[] names = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];
        return [.. Enumerable.Range(0, logprobs.GetProperty("tokens").GetArrayLength()).Select(i => string.Join(' ', names.Select(name => logprobs.GetProperty(name)[i].GetRawText())))];
    }

    private static string Json(string fields) => $"{{{fields}}}".Replace('\'', '"');
}
