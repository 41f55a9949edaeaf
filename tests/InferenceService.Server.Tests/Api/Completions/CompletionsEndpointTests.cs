using System.Net;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api.Completions;

[Collection(ServerCollection.Name)]
public sealed class CompletionsEndpointTests(ServerFixture fixture)
{
    [Fact]
    public async Task An_answer_has_this_shape()
    {
        JsonElement answer = await PostAsync("'prompt':'Once','max_tokens':5,'temperature':0");
        Assert.StartsWith("cmpl-", answer.GetProperty("id").GetString(), StringComparison.Ordinal);
        Assert.Equal(("text_completion", TinyModel.Name), (answer.GetProperty("object").GetString(), answer.GetProperty("model").GetString()));
        Assert.Equal(JsonValueKind.Number, answer.GetProperty("created").ValueKind);
        Assert.NotEmpty(answer.GetProperty("system_fingerprint").GetString()!);
        JsonElement choice = answer.GetProperty("choices")[0];
        Assert.Equal(5, choice.GetProperty("text").GetString()!.Length);
        Assert.Equal(("length", JsonValueKind.Null, JsonValueKind.Null), (choice.GetProperty("finish_reason").GetString(), choice.GetProperty("stop_reason").ValueKind, choice.GetProperty("logprobs").ValueKind));
        JsonElement usage = answer.GetProperty("usage");
        Assert.Equal((4, 5, 9), (usage.GetProperty("prompt_tokens").GetInt32(), usage.GetProperty("completion_tokens").GetInt32(), usage.GetProperty("total_tokens").GetInt32()));
        Assert.Equal(0, usage.GetProperty("completion_tokens_details").GetProperty("reasoning_tokens").GetInt32());
    }

    [Fact]
    public async Task Sixteen_tokens_are_the_default() =>
        Assert.Equal(16, (await PostAsync("'prompt':'Once','ignore_eos':true")).GetProperty("usage").GetProperty("completion_tokens").GetInt32());

    [Fact]
    public async Task The_default_shrinks_at_the_end_of_the_context() =>
        Assert.Equal(3, (await PostAsync($"'prompt':'{new string('a', TinyModel.Context - 3)}','ignore_eos':true")).GetProperty("usage").GetProperty("completion_tokens").GetInt32());

    [Fact]
    public async Task Text_and_ids_are_the_same_prompt()
    {
        JsonElement answer = await PostAsync($"'prompt':['Once'],'max_tokens':8,'temperature':0");
        JsonElement fromIds = await PostAsync($"'prompt':{ApiClient.ByteIds("Once")},'max_tokens':8.0,'temperature':0");
        JsonElement fromArrays = await PostAsync($"'prompt':[{ApiClient.ByteIds("Once")}],'max_tokens':8,'temperature':0");
        Assert.Equal(Text(answer, 0), Text(fromIds, 0));
        Assert.Equal(Text(answer, 0), Text(fromArrays, 0));
    }

    [Fact]
    public async Task Choices_are_numbered_by_prompt_and_choice_and_prompts_are_counted_once()
    {
        JsonElement answer = await PostAsync("'prompt':['Once','Twice'],'n':2,'max_tokens':6,'seed':1");
        Assert.Equal([0, 1, 2, 3], answer.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("index").GetInt32()));
        Assert.Equal((9, 24), (answer.GetProperty("usage").GetProperty("prompt_tokens").GetInt32(), answer.GetProperty("usage").GetProperty("completion_tokens").GetInt32()));
        JsonElement alone = await PostAsync("'prompt':'Twice','n':2,'max_tokens':6,'seed':1");
        Assert.Equal((Text(alone, 0), Text(alone, 1)), (Text(answer, 2), Text(answer, 3)));
        Assert.NotEqual(Text(alone, 0), Text(alone, 1));
    }

    [Fact]
    public async Task Prompts_that_could_never_wait_together_are_refused_for_good()
    {
        await using TestServer server = await TestServer.StartAsync("--max-num-queued-tokens", "100");
        string half = new('a', 60);
        using HttpResponseMessage answer = await server.Client.SendAsync(ApiClient.Request("/v1/completions", $$"""{"prompt":["{{half}}","{{half}}"]}"""));
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Contains("at most 100 tokens in all its entries together, got 120", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        string large = new('a', 60 * 13);
        using HttpResponseMessage unread = await server.Client.SendAsync(ApiClient.Request("/v1/completions", $$"""{"prompt":["{{large}}","{{large}}"]}"""));
        Assert.Contains("at most 100 tokens in all its entries together, got at least 120", await unread.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await ApiClient.PostAsync(server.Client, "/v1/completions", $$"""{"prompt":"{{half}}{{half}}","max_tokens":2}""");
    }

    [Fact]
    public async Task Choice_j_draws_from_seed_plus_j()
    {
        JsonElement both = await PostAsync("'prompt':'Once','n':2,'max_tokens':12,'seed':41");
        JsonElement second = await PostAsync("'prompt':'Once','max_tokens':12,'seed':42");
        Assert.Equal(Text(both, 1), Text(second, 0));
    }

    [Fact]
    public async Task Echo_returns_prompt_and_completion()
    {
        JsonElement plain = await PostAsync("'prompt':'Once é','max_tokens':4,'temperature':0");
        JsonElement echo = await PostAsync("'prompt':'Once é','max_tokens':4,'temperature':0,'echo':true,'logprobs':1");
        Assert.Equal("Once é" + Text(plain, 0), Text(echo, 0));
        JsonElement logprobs = echo.GetProperty("choices")[0].GetProperty("logprobs");
        Assert.Equal([0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9], logprobs.GetProperty("text_offset").EnumerateArray().Select(offset => offset.GetInt32()));
        Assert.Equal(JsonValueKind.Null, logprobs.GetProperty("token_logprobs")[0].ValueKind);
        Assert.Equal(JsonValueKind.Null, logprobs.GetProperty("top_logprobs")[0].ValueKind);
        Assert.All(logprobs.GetProperty("token_logprobs").EnumerateArray().Skip(1), logprob => Assert.InRange(logprob.GetDouble(), -100, 0));
    }

    [Theory]
    [InlineData("'<|begin|>é<|end|>b'", "<|begin|>é<|end|>bn", new[] { 0, 9, 9, 10, 17, 18 })]
    [InlineData("[0,200,174,1,103]", "é\u0062n", new[] { 0, 0, 0, 1, 1, 2 })]
    public async Task Offsets_count_characters_of_the_echoed_text(string prompt, string text, int[] offsets)
    {
        JsonElement echo = await PostAsync($"'prompt':{prompt},'max_tokens':1,'allowed_token_ids':{ApiClient.ByteIds("n")},'echo':true,'logprobs':0");
        Assert.Equal(text, Text(echo, 0));
        Assert.Equal(offsets, echo.GetProperty("choices")[0].GetProperty("logprobs").GetProperty("text_offset").EnumerateArray().Select(offset => offset.GetInt32()));
    }

    [Theory]
    [InlineData(true, 0xA9, "aé")]
    [InlineData(true, 'b', "a\uFFFDb")]
    [InlineData(false, 0xA9, "é")]
    [InlineData(false, 'b', "b")]
    public async Task Half_a_character_at_the_end_of_the_prompt_is_shown_once(bool echo, int next, string text)
    {
        string ids = $"[{TinyModel.FirstByteId + 'a'},{TinyModel.FirstByteId + 0xC3}]";
        JsonElement answer = await PostAsync($"'prompt':{ids},'max_tokens':1,'allowed_token_ids':[{TinyModel.FirstByteId + next}],'echo':{(echo ? "true" : "false")}");
        Assert.Equal(text, Text(answer, 0));
        JsonElement scored = await PostAsync($"'prompt':{ids},'max_tokens':0,'echo':true,'logprobs':0");
        Assert.Equal("a\uFFFD", Text(scored, 0));
    }

    [Fact]
    public async Task No_tokens_and_echo_score_the_prompt()
    {
        JsonElement scored = await PostAsync("'prompt':'Once','max_tokens':0,'echo':true,'logprobs':0");
        JsonElement choice = scored.GetProperty("choices")[0];
        Assert.Equal(("Once", "length"), (choice.GetProperty("text").GetString(), choice.GetProperty("finish_reason").GetString()));
        Assert.Equal(4, choice.GetProperty("logprobs").GetProperty("tokens").GetArrayLength());
        Assert.Equal(0, scored.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
        // The same numbers as when the tokens are generated: p(n | "O") is what generating from "O" reports for "n".
        double asPrompt = choice.GetProperty("logprobs").GetProperty("token_logprobs")[1].GetDouble();
        JsonElement generated = await PostAsync($"'prompt':'O','max_tokens':1,'allowed_token_ids':{ApiClient.ByteIds("n")},'logprobs':0");
        double asOutput = generated.GetProperty("choices")[0].GetProperty("logprobs").GetProperty("token_logprobs")[0].GetDouble();
        Assert.Equal(asOutput, asPrompt, 1e-4);
    }

    [Fact]
    public async Task Alternatives_are_the_likeliest_and_the_chosen_one()
    {
        JsonElement answer = await PostAsync("'prompt':'Once','max_tokens':12,'seed':3,'temperature':2,'logprobs':2");
        JsonElement logprobs = answer.GetProperty("choices")[0].GetProperty("logprobs");
        for (int i = 0; i < 12; i++)
        {
            string token = logprobs.GetProperty("tokens")[i].GetString()!;
            JsonElement map = logprobs.GetProperty("top_logprobs")[i];
            double chosen = logprobs.GetProperty("token_logprobs")[i].GetDouble();
            double[] values = [.. map.EnumerateObject().Select(entry => entry.Value.GetDouble())];
            Assert.Equal(chosen, map.GetProperty(token).GetDouble());
            Assert.True(values[0] >= values[1] && chosen <= values[0]);
            Assert.InRange(values.Length, 2, 3);
        }
    }

    [Fact]
    public async Task The_best_of_several_have_the_highest_mean()
    {
        JsonElement all = await PostAsync("'prompt':'Once','n':6,'max_tokens':8,'seed':9,'logprobs':0");
        JsonElement best = await PostAsync("'prompt':'Once','n':2,'best_of':6,'max_tokens':8,'seed':9");
        string[] expected = [.. all.GetProperty("choices").EnumerateArray().OrderByDescending(Mean).Take(2).Select(choice => choice.GetProperty("text").GetString()!)];
        Assert.Equal(expected, best.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("text").GetString()));
        Assert.Equal([0, 1], best.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("index").GetInt32()));
        Assert.Equal(48, best.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
        Assert.Equal(JsonValueKind.Null, best.GetProperty("choices")[0].GetProperty("logprobs").ValueKind);

        static double Mean(JsonElement choice) => choice.GetProperty("logprobs").GetProperty("token_logprobs").EnumerateArray().Average(logprob => logprob.GetDouble());
    }

    [Fact]
    public async Task Stops_end_the_text_and_are_told()
    {
        string plain = Text(await PostAsync("'prompt':'Once','max_tokens':20,'temperature':0"), 0);
        string stop = plain.Substring(7, 3);
        int at = plain.IndexOf(stop, StringComparison.Ordinal);
        JsonElement cut = (await PostAsync($"'prompt':'Once','max_tokens':20,'temperature':0,'stop':[{JsonSerializer.Serialize(stop)}]")).GetProperty("choices")[0];
        Assert.Equal((plain[..at], "stop", stop), (cut.GetProperty("text").GetString(), cut.GetProperty("finish_reason").GetString(), cut.GetProperty("stop_reason").GetString()));
        int id = TinyModel.FirstByteId + plain[4];
        int first = plain.IndexOf(plain[4], StringComparison.Ordinal);
        JsonElement byId = (await PostAsync($"'prompt':'Once','max_tokens':20,'temperature':0,'stop_token_ids':[{id}]")).GetProperty("choices")[0];
        Assert.Equal((plain[..first], id), (byId.GetProperty("text").GetString(), byId.GetProperty("stop_reason").GetInt32()));
    }

    [Fact]
    public async Task The_end_token_stops_unless_ignored()
    {
        JsonElement ended = await PostAsync($"'prompt':'Once','max_tokens':9,'logit_bias':{{'{TinyModel.EndId}':100}}");
        Assert.Equal(("", "stop", 1), (Text(ended, 0), ended.GetProperty("choices")[0].GetProperty("finish_reason").GetString(), ended.GetProperty("usage").GetProperty("completion_tokens").GetInt32()));
        JsonElement ignored = await PostAsync($"'prompt':'Once','max_tokens':9,'logit_bias':{{'{TinyModel.EndId}':100}},'ignore_eos':true");
        Assert.Equal(("length", 9), (ignored.GetProperty("choices")[0].GetProperty("finish_reason").GetString(), ignored.GetProperty("usage").GetProperty("completion_tokens").GetInt32()));
        JsonElement shown = await PostAsync($"'prompt':'Once','max_tokens':2,'logit_bias':{{'{TinyModel.EndId}':100}},'ignore_eos':true,'skip_special_tokens':false");
        Assert.Equal("<|end|><|end|>", Text(shown, 0));
    }

    [Fact]
    public async Task Ids_prompt_logprobs_and_the_kv_report_come_on_request()
    {
        JsonElement answer = await PostAsync("'prompt':'Once','max_tokens':3,'temperature':0,'return_token_ids':true,'prompt_logprobs':1,'kv_report':true,'request_id':'abc','logprobs':0,'return_tokens_as_token_ids':true");
        Assert.Equal("cmpl-abc", answer.GetProperty("id").GetString());
        JsonElement choice = answer.GetProperty("choices")[0];
        Assert.Equal(ApiClient.ByteIds("Once"), choice.GetProperty("prompt_token_ids").GetRawText());
        int[] ids = [.. choice.GetProperty("token_ids").EnumerateArray().Select(id => id.GetInt32())];
        Assert.Equal(choice.GetProperty("text").GetString(), string.Concat(ids.Select(id => (char)(id - TinyModel.FirstByteId))));
        Assert.Equal(ids.Select(id => $"token_id:{id}"), choice.GetProperty("logprobs").GetProperty("tokens").EnumerateArray().Select(token => token.GetString()!));
        JsonElement prompt = choice.GetProperty("prompt_logprobs");
        Assert.Equal((4, JsonValueKind.Null), (prompt.GetArrayLength(), prompt[0].ValueKind));
        JsonElement second = prompt[1].GetProperty($"{TinyModel.FirstByteId + 'n'}");
        Assert.Equal("n", second.GetProperty("decoded_token").GetString());
        JsonElement kv = answer.GetProperty("usage").GetProperty("kv_cache");
        Assert.Equal(("full", 6, 6), (kv.GetProperty("policy").GetString(), kv.GetProperty("logical_tokens").GetInt32(), kv.GetProperty("kept_tokens").GetInt32()));
        // One block of 16 slots, 2 layers, 2 KV heads of 8, K and V, four bytes.
        Assert.Equal(16 * 2 * 2 * 8 * 2 * 4, kv.GetProperty("bytes").GetInt32());
    }

    [Fact]
    public async Task Prompts_are_cut_only_on_request()
    {
        JsonElement left = await PostAsync("'prompt':'abcdef','max_tokens':1,'truncate_prompt_tokens':2,'return_token_ids':true");
        Assert.Equal(ApiClient.ByteIds("ef"), left.GetProperty("choices")[0].GetProperty("prompt_token_ids").GetRawText());
        JsonElement right = await PostAsync("'prompt':'abcdef','max_tokens':1,'temperature':0,'truncate_prompt_tokens':2,'truncation_side':'right','echo':true");
        Assert.StartsWith("ab", Text(right, 0), StringComparison.Ordinal);
        Assert.Equal(3, Text(right, 0).Length);
        JsonElement all = await PostAsync($"'prompt':'{new string('a', 3000)}','max_tokens':8,'truncate_prompt_tokens':-1");
        Assert.Equal(TinyModel.Context - 8, all.GetProperty("usage").GetProperty("prompt_tokens").GetInt32());
    }

    [Fact]
    public async Task A_prefix_is_read_from_the_cache_unless_salted()
    {
        string prompt = string.Concat(Enumerable.Range(0, 100).Select(i => (char)('a' + (i * i % 23))));
        Assert.Equal(0, Cached(await PostAsync($"'prompt':'{prompt}','max_tokens':1,'cache_salt':'one'")));
        Assert.Equal(96, Cached(await PostAsync($"'prompt':'{prompt}','max_tokens':1,'cache_salt':'one'")));
        Assert.Equal(0, Cached(await PostAsync($"'prompt':'{prompt}','max_tokens':1,'cache_salt':'two'")));

        static int Cached(JsonElement answer) => answer.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32();
    }

    [Fact]
    public async Task The_policy_header_counts_when_the_body_is_silent()
    {
        using HttpRequestMessage good = ApiClient.Request("/completions/", """{"prompt":"a","max_tokens":1}""");
        good.Headers.Add("x-inference-kv-policy", "full");
        Assert.True((await fixture.Server.Client.SendAsync(good)).IsSuccessStatusCode);
        using HttpRequestMessage bad = ApiClient.Request("/completions/", """{"prompt":"a","max_tokens":1}""");
        bad.Headers.Add("x-inference-kv-policy", "lossy");
        HttpResponseMessage refused = await fixture.Server.Client.SendAsync(bad);
        Assert.Contains("kv_policy_not_allowed", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        using HttpRequestMessage body = ApiClient.Request("/completions/", """{"prompt":"a","max_tokens":1,"kv_policy":"full"}""");
        body.Headers.Add("x-inference-kv-policy", "lossy");
        Assert.True((await fixture.Server.Client.SendAsync(body)).IsSuccessStatusCode);
    }

    [Fact]
    public async Task Checkpoint_defaults_stand_between_request_and_openai()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        await File.WriteAllTextAsync(Path.Combine(folder, "generation_config.json"), """{"do_sample":false,"max_new_tokens":5}""");
        await using TestServer server = await TestServer.StartAsync("--model", folder);
        JsonElement first = await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"Once"}""");
        JsonElement greedy = await PostAsync("'prompt':'Once','max_tokens':5,'temperature':0");
        Assert.Equal(Text(greedy, 0), Text(first, 0));
        JsonElement sampled = await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"Once","max_tokens":30,"temperature":1,"seed":5,"n":2}""");
        Assert.NotEqual(Text(sampled, 0), Text(sampled, 1));
        using HttpResponseMessage several = await server.Client.SendAsync(ApiClient.Request("/v1/completions", """{"prompt":"Once","n":2}"""));
        Assert.Equal(400, (int)several.StatusCode);
    }

    [Fact]
    public async Task Priorities_need_a_server_that_schedules_by_them()
    {
        await using TestServer server = await TestServer.StartAsync("--scheduling-policy", "priority");
        JsonElement answer = await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"Once","max_tokens":2,"ignore_eos":true,"priority":-5}""");
        Assert.Equal(2, answer.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
    }

    private Task<JsonElement> PostAsync(string fields) => ApiClient.PostAsync(fixture.Server.Client, "/v1/completions", $"{{{fields}}}".Replace('\'', '"'));

    private static string Text(JsonElement answer, int choice) => answer.GetProperty("choices")[choice].GetProperty("text").GetString()!;
}
