using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api;

/// <summary>Every way to ask wrongly, each with the error a client must see. The server answers normally afterwards.</summary>
/// <remarks>Long because it is one table: a line a mistake, in the order of the fields, so that a missing one can be seen.</remarks>
[Collection(ServerCollection.Name)]
public sealed class MalformedRequestTests(ServerFixture fixture)
{
    private const string Completions = "/v1/completions";
    private const string Chat = "/v1/chat/completions";
    private const string Render = "/v1/chat/completions/render";
    private const string Tokenize = "/tokenize";
    private const string Detokenize = "/v1/detokenize";

    /// <summary>Path, fields put over a good body (the last of two equal keys wins), expected code and field.</summary>
    public static TheoryData<string, string, string, string?> BadFields => new()
    {
        // Sampling.
        { Completions, "'temperature':-0.1", "invalid_value", "temperature" },
        { Completions, "'temperature':2.01", "invalid_value", "temperature" },
        { Chat, "'temperature':'hot'", "invalid_value", "temperature" },
        { Chat, "'temperature':1e999", "invalid_value", "temperature" },
        { Completions, "'top_p':0", "invalid_value", "top_p" },
        { Completions, "'top_p':1.1", "invalid_value", "top_p" },
        { Chat, "'top_p':true", "invalid_value", "top_p" },
        { Completions, "'top_k':-2", "invalid_value", "top_k" },
        { Completions, "'top_k':1.5", "invalid_value", "top_k" },
        { Completions, "'top_k':99999999999999999999", "invalid_value", "top_k" },
        { Completions, "'min_p':-0.5", "invalid_value", "min_p" },
        { Completions, "'min_p':1.5", "invalid_value", "min_p" },
        { Completions, "'frequency_penalty':-2.5", "invalid_value", "frequency_penalty" },
        { Chat, "'frequency_penalty':2.5", "invalid_value", "frequency_penalty" },
        { Completions, "'presence_penalty':-2.5", "invalid_value", "presence_penalty" },
        { Chat, "'presence_penalty':'1'", "invalid_value", "presence_penalty" },
        { Completions, "'repetition_penalty':0", "invalid_value", "repetition_penalty" },
        { Completions, "'repetition_penalty':10.5", "invalid_value", "repetition_penalty" },
        { Completions, "'logit_bias':[1]", "invalid_value", "logit_bias" },
        { Completions, $"'logit_bias':{{{string.Join(',', Enumerable.Range(0, 1025).Select(i => $"'{i}':1"))}}}", "invalid_value", "logit_bias" },
        { Completions, "'logit_bias':{'x':1}", "invalid_value", "logit_bias.x" },
        { Completions, "'logit_bias':{'-1':1}", "invalid_value", "logit_bias.-1" },
        { Completions, "'logit_bias':{'261':1}", "invalid_value", "logit_bias.261" },
        { Completions, "'logit_bias':{'99999999999':1}", "invalid_value", "logit_bias.99999999999" },
        { Chat, "'logit_bias':{'7':101}", "invalid_value", "logit_bias.7" },
        { Chat, "'logit_bias':{'7':'1'}", "invalid_value", "logit_bias.7" },
        { Completions, "'allowed_token_ids':[]", "invalid_value", "allowed_token_ids" },
        { Completions, "'allowed_token_ids':[-1]", "invalid_value", "allowed_token_ids[0]" },
        { Completions, "'allowed_token_ids':[1,261]", "invalid_value", "allowed_token_ids[1]" },
        { Completions, "'bad_words':'x'", "invalid_value", "bad_words" },
        { Completions, "'bad_words':['']", "invalid_value", "bad_words[0]" },
        { Completions, "'bad_words':['a',7]", "invalid_value", "bad_words[1]" },
        { Completions, "'seed':1.5", "invalid_value", "seed" },
        { Completions, "'seed':9223372036854775808", "invalid_value", "seed" },
        { Completions, "'n':0", "invalid_value", "n" },
        { Completions, "'n':65", "invalid_value", "n" },
        { Chat, "'n':2147483648", "invalid_value", "n" },
        { Chat, "'n':2,'temperature':0", "invalid_value", "n" },
        { Completions, "'n':2,'temperature':0.0", "invalid_value", "n" },

        // Stops and lengths.
        { Completions, "'stop':''", "invalid_value", "stop" },
        { Completions, "'stop':['a','']", "invalid_value", "stop[1]" },
        { Completions, "'stop':7", "invalid_value", "stop" },
        { Chat, "'stop':['1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16','17']", "invalid_value", "stop" },
        { Chat, $"'stop':'{new string('s', 257)}'", "invalid_value", "stop" },
        { Completions, "'stop_token_ids':[-1]", "invalid_value", "stop_token_ids[0]" },
        { Completions, "'stop_token_ids':[5,261]", "invalid_value", "stop_token_ids[1]" },
        { Completions, "'stop_token_ids':5", "invalid_value", "stop_token_ids" },
        { Completions, "'include_stop_str_in_output':1", "invalid_value", "include_stop_str_in_output" },
        { Completions, "'ignore_eos':'yes'", "invalid_value", "ignore_eos" },
        { Completions, "'skip_special_tokens':0", "invalid_value", "skip_special_tokens" },
        { Completions, "'spaces_between_special_tokens':0", "invalid_value", "spaces_between_special_tokens" },
        { Completions, "'min_tokens':-1", "invalid_value", "min_tokens" },
        { Completions, "'min_tokens':5,'max_tokens':4", "invalid_value", "min_tokens" },
        { Completions, "'max_tokens':0", "invalid_value", "max_tokens" },
        { Completions, "'max_tokens':-1,'echo':true", "invalid_value", "max_tokens" },
        { Completions, "'max_tokens':16.5", "invalid_value", "max_tokens" },
        { Completions, "'max_tokens':3000", "context_length_exceeded", "prompt" },
        { Chat, "'max_tokens':0", "invalid_value", "max_tokens" },
        { Chat, "'max_completion_tokens':0", "invalid_value", "max_completion_tokens" },
        { Chat, "'max_completion_tokens':3000", "context_length_exceeded", "messages" },
        { Completions, "'max_tokens':4294967297", "invalid_value", "max_tokens" },
        { Completions, "'truncate_prompt_tokens':0", "invalid_value", "truncate_prompt_tokens" },
        { Completions, "'truncate_prompt_tokens':-2", "invalid_value", "truncate_prompt_tokens" },
        { Completions, "'truncation_side':'middle'", "invalid_value", "truncation_side" },
        { Completions, "'thinking_token_budget':-2", "invalid_value", "thinking_token_budget" },
        { Completions, "'thinking_token_budget':10", "unsupported_parameter", "thinking_token_budget" },

        // Log-probabilities and ids.
        { Completions, "'logprobs':21", "invalid_value", "logprobs" },
        { Completions, "'logprobs':-1", "invalid_value", "logprobs" },
        { Completions, "'logprobs':true", "invalid_value", "logprobs" },
        { Chat, "'logprobs':1", "invalid_value", "logprobs" },
        { Chat, "'logprobs':true,'top_logprobs':21", "invalid_value", "top_logprobs" },
        { Chat, "'top_logprobs':2", "invalid_value", "top_logprobs" },
        { Completions, "'prompt_logprobs':-1", "invalid_value", "prompt_logprobs" },
        { Completions, "'prompt_logprobs':-2", "invalid_value", "prompt_logprobs" },
        { Completions, "'prompt_logprobs':21", "invalid_value", "prompt_logprobs" },
        { Completions, "'prompt_logprobs':1,'stream':true", "invalid_value", "prompt_logprobs" },
        { Chat, "'prompt_logprobs':1,'stream':true", "invalid_value", "prompt_logprobs" },
        { Completions, "'return_tokens_as_token_ids':1", "invalid_value", "return_tokens_as_token_ids" },
        { Completions, "'return_token_ids':1", "invalid_value", "return_token_ids" },

        // Service.
        { Completions, "'priority':1", "invalid_value", "priority" },
        { Completions, "'priority':'low'", "invalid_value", "priority" },
        { Completions, $"'cache_salt':'{new string('s', 129)}'", "invalid_value", "cache_salt" },
        { Completions, "'cache_salt':''", "invalid_value", "cache_salt" },
        { Completions, $"'request_id':'{new string('s', 129)}'", "invalid_value", "request_id" },
        { Completions, "'request_id':'a\\nb'", "invalid_value", "request_id" },
        { Completions, "'kv_policy':'lossy'", "kv_policy_not_allowed", "kv_policy" },
        { Completions, "'kv_policy':7", "kv_policy_not_allowed", "kv_policy" },
        { Completions, "'kv_policy':{'name':'full','sink_tokens':4}", "kv_policy_not_allowed", "kv_policy" },
        { Completions, "'kv_report':'yes'", "invalid_value", "kv_report" },
        { Completions, "'stream':'yes'", "invalid_value", "stream" },
        { Completions, "'stream_options':{'include_usage':true}", "invalid_value", "stream_options" },
        { Completions, "'stream':true,'stream_options':7", "invalid_value", "stream_options" },
        { Completions, "'stream':true,'stream_options':{'include_usage':1}", "invalid_value", "stream_options.include_usage" },
        { Completions, "'stream_interval':0", "invalid_value", "stream_interval" },
        { Completions, "'stream_interval':1025", "invalid_value", "stream_interval" },
        { Completions, "'use_beam_search':true", "unsupported_parameter", "use_beam_search" },
        { Completions, "'vllm_xargs':{}", "unsupported_parameter", "vllm_xargs" },
        { Completions, "'kv_transfer_params':{}", "unsupported_parameter", "kv_transfer_params" },
        { Completions, "'mm_processor_kwargs':{}", "unsupported_parameter", "mm_processor_kwargs" },
        { Completions, "'model':'nobody'", "model_not_found", "model" },
        { Completions, "'model':7", "invalid_value", "model" },

        // What is not offered.
        { Chat, "'response_format':{'type':'json_object'}", "unsupported_parameter", "response_format" },
        { Chat, "'response_format':{'type':'json_schema','json_schema':{'name':'x','schema':{}}}", "unsupported_parameter", "response_format" },
        { Chat, "'response_format':{'type':'xml'}", "invalid_value", "response_format.type" },
        { Chat, "'response_format':{}", "missing_required_parameter", "response_format.type" },
        { Completions, "'response_format':'json'", "invalid_value", "response_format" },
        { Completions, "'structured_outputs':{'regex':'a+'}", "unsupported_parameter", "structured_outputs" },
        { Completions, "'guided_choice':['a','b']", "unsupported_parameter", "guided_choice" },
        { Completions, "'grammar':'root ::= x'", "unsupported_parameter", "grammar" },
        { Chat, "'tools':[]", "unsupported_parameter", "tools" },
        { Chat, "'tools':[{'type':'function','function':{'name':'f'}}]", "unsupported_parameter", "tools" },
        { Chat, "'functions':[{'name':'f'}]", "unsupported_parameter", "functions" },
        { Chat, "'tool_choice':'auto'", "unsupported_parameter", "tool_choice" },
        { Chat, "'modalities':['text','audio']", "unsupported_parameter", "modalities" },
        { Chat, "'audio':{'voice':'x'}", "unsupported_parameter", "audio" },
        { Chat, "'web_search_options':{}", "unsupported_parameter", "web_search_options" },

        // Prompts.
        { Completions, "'prompt':null", "missing_required_parameter", "prompt" },
        { Completions, "'prompt':7", "invalid_value", "prompt" },
        { Completions, "'prompt':{}", "invalid_value", "prompt" },
        { Completions, "'prompt':''", "invalid_value", "prompt" },
        { Completions, "'prompt':[]", "invalid_value", "prompt" },
        { Completions, "'prompt':['a',7]", "invalid_value", "prompt[1]" },
        { Completions, "'prompt':['a','']", "invalid_value", "prompt[1]" },
        { Completions, "'prompt':[[5],[]]", "invalid_value", "prompt[1]" },
        { Completions, "'prompt':[-1]", "invalid_value", "prompt[0]" },
        { Completions, "'prompt':[5,261]", "invalid_value", "prompt[1]" },
        { Completions, "'prompt':[[5],[5,1.5]]", "invalid_value", "prompt[1][1]" },
        { Completions, $"'prompt':[{string.Join(',', Enumerable.Repeat("'a'", 65))}]", "invalid_value", "prompt" },
        { Completions, $"'prompt':'{new string('a', 2048)}'", "context_length_exceeded", "prompt" },
        { Completions, "'suffix':'end'", "unsupported_parameter", "suffix" },
        { Completions, "'echo':1", "invalid_value", "echo" },
        { Completions, "'add_special_tokens':'no'", "invalid_value", "add_special_tokens" },
        { Completions, "'best_of':21", "invalid_value", "best_of" },
        { Completions, "'best_of':-1", "invalid_value", "best_of" },
        { Completions, "'best_of':2,'n':3", "invalid_value", "best_of" },
        { Completions, "'best_of':2,'stream':true", "invalid_value", "best_of" },
        { Completions, "'best_of':2,'temperature':0", "invalid_value", "n" },

        // Messages.
        { Chat, "'messages':null", "missing_required_parameter", "messages" },
        { Chat, "'messages':[]", "invalid_value", "messages" },
        { Chat, "'messages':{}", "invalid_value", "messages" },
        { Chat, "'messages':['hi']", "invalid_value", "messages[0]" },
        { Chat, "'messages':[{'content':'x'}]", "missing_required_parameter", "messages[0].role" },
        { Chat, "'messages':[{'role':7,'content':'x'}]", "invalid_value", "messages[0].role" },
        { Chat, "'messages':[{'role':'robot','content':'x'}]", "invalid_value", "messages[0].role" },
        { Chat, "'messages':[{'role':'user'}]", "missing_required_parameter", "messages[0].content" },
        { Chat, "'messages':[{'role':'user','content':'a'},{'role':'assistant','content':null}]", "missing_required_parameter", "messages[1].content" },
        { Chat, "'messages':[{'role':'user','content':7}]", "invalid_value", "messages[0].content" },
        { Chat, "'messages':[{'role':'user','content':[]}]", "invalid_value", "messages[0].content" },
        { Chat, "'messages':[{'role':'user','content':[7]}]", "invalid_value", "messages[0].content[0]" },
        { Chat, "'messages':[{'role':'user','content':[{'text':'a'}]}]", "missing_required_parameter", "messages[0].content[0].type" },
        { Chat, "'messages':[{'role':'user','content':[{'type':'text'}]}]", "missing_required_parameter", "messages[0].content[0].text" },
        { Chat, "'messages':[{'role':'user','content':[{'type':'poem','text':'a'}]}]", "invalid_value", "messages[0].content[0].type" },
        { Chat, "'messages':[{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url','image_url':{'url':'http://localhost/x.png'}}]}]", "unsupported_parameter", "messages[0].content[1]" },
        { Chat, "'messages':[{'role':'user','content':[{'type':'input_audio','input_audio':{}}]}]", "unsupported_parameter", "messages[0].content[0]" },
        { Chat, "'messages':[{'role':'assistant','tool_calls':[{'id':'1','function':{'name':'f','arguments':'{'}}]}]", "invalid_value", "messages[0].tool_calls[0].function.arguments" },
        { Chat, "'messages':[{'role':'assistant','tool_calls':[{'id':'1'}]}]", "missing_required_parameter", "messages[0].tool_calls[0].function" },
        { Chat, "'messages':[{'role':'tool','tool_call_id':'1','content':'x'}]", "invalid_messages", "messages" },
        { Chat, "'continue_final_message':true,'add_generation_prompt':true", "invalid_value", "continue_final_message" },
        { Chat, "'chat_template':'{{ messages }}'", "insufficient_permissions", "chat_template" },
        { Chat, "'chat_template_kwargs':7", "invalid_value", "chat_template_kwargs" },
        { Chat, "'chat_template_kwargs':{'messages':[]}", "invalid_value", "chat_template_kwargs.messages" },
        { Chat, $"'chat_template_kwargs':{{'x':'{new string('x', 70_000)}'}}", "invalid_value", "chat_template_kwargs" },
        { Chat, "'documents':{}", "invalid_value", "documents" },
        { Chat, "'reasoning_effort':'extreme'", "invalid_value", "reasoning_effort" },
        { Chat, "'include_reasoning':'no'", "invalid_value", "include_reasoning" },
        { Render, "'messages':[]", "invalid_value", "messages" },
        { Render, "'tools':[]", "unsupported_parameter", "tools" },

        // Tokenizer routes.
        { Tokenize, "'prompt':7", "invalid_value", "prompt" },
        { Tokenize, "'prompt':null", "missing_required_parameter", "prompt" },
        { Tokenize, "'messages':[{'role':'user','content':'x'}]", "invalid_value", "messages" },
        { Tokenize, "'prompt':null,'messages':[{'role':'robot','content':'x'}]", "invalid_value", "messages[0].role" },
        { Tokenize, "'return_token_strs':'yes'", "invalid_value", "return_token_strs" },
        { Tokenize, "'model':'nobody'", "model_not_found", "model" },
        { Detokenize, "'tokens':null", "missing_required_parameter", "tokens" },
        { Detokenize, "'tokens':'5'", "invalid_value", "tokens" },
        { Detokenize, "'tokens':[5,-1]", "invalid_value", "tokens[1]" },
        { Detokenize, "'tokens':[261]", "invalid_value", "tokens[0]" },
    };

    [Theory]
    [MemberData(nameof(BadFields))]
    public async Task A_bad_field_is_named(string path, string fields, string code, string? param)
    {
        string json = $"{{{Base(path)},{fields}}}".Replace('\'', '"');
        using HttpResponseMessage response = await PostAsync(path, json);
        int status = code switch { "model_not_found" => 404, "insufficient_permissions" => 403, _ => 400 };
        string type = code == "insufficient_permissions" ? "permission_error" : "invalid_request_error";
        JsonElement error = await AssertErrorAsync(response, status, type, code, param);
        if (code == "context_length_exceeded")
            Assert.Contains("maximum context length is 2048 tokens", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Completions, "prompt", "\"prompt\":\"LONG\",\"max_tokens\":7", "at least 4608 in the prompt and 7 in the output")]
    [InlineData(Completions, "prompt", "\"prompt\":[\"a\",\"LONG\"],\"max_tokens\":7", "at least 4608 in the prompt and 7 in the output")]
    [InlineData(Chat, "messages", "\"messages\":[{\"role\":\"user\",\"content\":\"LONG\"}],\"max_tokens\":7", "in the messages and 7 in the output")]
    public async Task A_text_that_cannot_fit_is_refused_by_its_length(string path, string param, string fields, string expected)
    {
        // The tiny model's longest token has 13 characters.
        using HttpResponseMessage response = await PostAsync(path, "{" + fields.Replace("LONG", new string('a', 13 * 4608), StringComparison.Ordinal) + "}");
        JsonElement error = await AssertErrorAsync(response, 400, "invalid_request_error", "context_length_exceeded", param);
        string message = error.GetProperty("message").GetString()!;
        Assert.StartsWith("This model's maximum context length is 2048 tokens, but the request needs at least ", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[", "]")]
    [InlineData("[[5],[", "]]")]
    public async Task Ids_that_cannot_fit_are_refused_by_their_number(string open, string close)
    {
        // None of them is a token: they are not even looked at.
        string json = $$"""{"prompt":{{open}}{{string.Join(',', Enumerable.Repeat(-1, 2048))}}{{close}},"max_tokens":1}""";
        using HttpResponseMessage response = await PostAsync(Completions, json);
        JsonElement error = await AssertErrorAsync(response, 400, "invalid_request_error", "context_length_exceeded", "prompt");
        Assert.Contains("needs 2049: 2048 in the prompt and 1 in the output", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_prompt_that_may_be_cut_may_be_of_any_length()
    {
        string text = new('a', 13 * 4608);
        JsonElement cut = await ApiClient.PostAsync(fixture.Server.Client, Completions, $$"""{"prompt":"{{text}}","truncate_prompt_tokens":5,"max_tokens":1}""");
        Assert.Equal(5, cut.GetProperty("usage").GetProperty("prompt_tokens").GetInt32());
        string ids = string.Join(',', Enumerable.Repeat(7, 4000));
        cut = await ApiClient.PostAsync(fixture.Server.Client, Completions, $$"""{"prompt":[{{ids}}],"truncate_prompt_tokens":6,"max_tokens":1}""");
        Assert.Equal(6, cut.GetProperty("usage").GetProperty("prompt_tokens").GetInt32());
    }

    [Fact]
    public async Task Restrictions_that_leave_no_token_are_the_clients_mistake()
    {
        string fields = $"\"prompt\":\"Once\",\"max_tokens\":4,\"allowed_token_ids\":{ApiClient.ByteIds("ab")},\"logit_bias\":{{\"{TinyModel.FirstByteId + 'a'}\":100}}";
        foreach (string words in (string[])["\"a\",\"b\"", "\"aa\",\"ab\""])
        {
            using HttpResponseMessage whole = await PostAsync(Completions, $"{{{fields},\"bad_words\":[{words}]}}");
            await AssertErrorAsync(whole, 400, "invalid_request_error", "invalid_value", "allowed_token_ids");
        }

        using HttpResponseMessage first = await PostAsync(Completions, $"{{{fields},\"bad_words\":[\"a\",\"b\"],\"stream\":true}}");
        await AssertErrorAsync(first, 400, "invalid_request_error", "invalid_value", "allowed_token_ids");

        // The second token is the impossible one; the stream is then cut.
        using HttpResponseMessage second = await fixture.Server.Client.SendAsync(
            ApiClient.Request(Completions, $"{{{fields},\"bad_words\":[\"aa\",\"ab\"],\"stream\":true}}"), HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, second.StatusCode);
        using var reader = new StreamReader(await second.Content.ReadAsStreamAsync());
        Assert.Contains("\"text\":\"a\"", await ApiClient.NextAsync(reader), StringComparison.Ordinal);
        using JsonDocument error = JsonDocument.Parse((await ApiClient.NextAsync(reader))!);
        Assert.Equal("invalid_request_error", error.RootElement.GetProperty("error").GetProperty("type").GetString());
        await Assert.ThrowsAnyAsync<IOException>(() => reader.ReadToEndAsync());
    }

    [Theory]
    [InlineData("gzip", 415)]
    [InlineData("br", 415)]
    [InlineData("identity", 200)]
    public async Task Compressed_bodies_are_refused(string encoding, int status)
    {
        using var content = new ByteArrayContent("{\"prompt\":\"a\",\"max_tokens\":1}"u8.ToArray());
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        content.Headers.ContentEncoding.Add(encoding);
        using HttpResponseMessage response = await fixture.Server.Client.PostAsync(Completions, content);
        if (status != 200)
            await AssertErrorAsync(response, status, "invalid_request_error", "unsupported_media_type", null);
        else
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    [Theory]
    [InlineData("", "invalid_json")]
    [InlineData("{", "invalid_json")]
    [InlineData("{\"prompt\":\"a\",}", "invalid_json")]
    [InlineData("{\"prompt\":\"a\",\"temperature\":NaN}", "invalid_json")]
    [InlineData("{\"prompt\":\"a\",\"temperature\":Infinity}", "invalid_json")]
    [InlineData("{\"prompt\":\"\\ud83d\"}", "invalid_json")]
    [InlineData("[]", "invalid_value")]
    [InlineData("\"prompt\"", "invalid_value")]
    [InlineData("null", "invalid_value")]
    public async Task A_body_that_is_no_json_object_is_refused(string body, string code)
    {
        foreach (string path in (string[])[Completions, Chat, Render, Tokenize, Detokenize])
        {
            using HttpResponseMessage response = await PostAsync(path, body);
            await AssertErrorAsync(response, 400, "invalid_request_error", code, null);
        }
    }

    [Fact]
    public async Task The_responses_api_is_refused_by_name()
    {
        using HttpResponseMessage response = await PostAsync("/v1/responses", """{"input":"a"}""");
        JsonElement error = await AssertErrorAsync(response, 400, "invalid_request_error", "unsupported_parameter", null);
        Assert.Contains("/v1/chat/completions", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bytes_that_are_not_utf8_are_refused()
    {
        using var content = new ByteArrayContent([.. "{\"prompt\":\""u8, 0xFF, .. "\"}"u8]);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        using HttpResponseMessage response = await fixture.Server.Client.PostAsync(Completions, content);
        await AssertErrorAsync(response, 400, "invalid_request_error", "invalid_json", null);
    }

    [Theory]
    [InlineData("text/plain")]
    [InlineData("application/x-www-form-urlencoded")]
    [InlineData("application/json; charset=utf-16")]
    [InlineData(null)]
    public async Task Other_media_types_are_refused(string? type)
    {
        using var content = new ByteArrayContent("{\"prompt\":\"a\"}"u8.ToArray());
        content.Headers.ContentType = type is null ? null : MediaTypeHeaderValue.Parse(type);
        using HttpResponseMessage response = await fixture.Server.Client.PostAsync(Completions, content);
        await AssertErrorAsync(response, 415, "invalid_request_error", "unsupported_media_type", null);
    }

    [Theory]
    [InlineData(Completions)]
    [InlineData(Chat)]
    [InlineData("/completions")]
    [InlineData("/chat/completions")]
    [InlineData(Render)]
    [InlineData(Tokenize)]
    [InlineData(Detokenize)]
    public async Task Get_is_not_allowed(string path)
    {
        using HttpResponseMessage response = await fixture.Server.Client.GetAsync(path);
        await AssertErrorAsync(response, 405, "invalid_request_error", "method_not_allowed", null);
        Assert.Equal(["POST"], response.Content.Headers.Allow);
    }

    [Fact]
    public async Task All_problems_are_listed_and_the_first_decides()
    {
        using HttpResponseMessage response = await PostAsync(Completions, """{"prompt":"a","temperature":3,"top_p":0,"stop":[""],"best_of":99}""");
        JsonElement error = await AssertErrorAsync(response, 400, "invalid_request_error", "invalid_value", "temperature");
        string message = error.GetProperty("message").GetString()!;
        foreach (string field in (string[])["temperature", "top_p", "stop[0]", "best_of"])
            Assert.Contains(field, message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_received_value_is_shown_briefly_and_clean()
    {
        using HttpResponseMessage response = await PostAsync(Chat, $$"""{"messages":[{"role":"\u0007x\n{{new string('y', 500)}}","content":"a"}]}""");
        JsonElement error = await AssertErrorAsync(response, 400, "invalid_request_error", "invalid_value", "messages[0].role");
        string message = error.GetProperty("message").GetString()!;
        Assert.DoesNotContain(message, char.IsControl);
        Assert.InRange(message.Length, 1, 250);
    }

    [Fact]
    public async Task A_body_above_the_limit_is_refused()
    {
        await using TestServer server = await TestServer.StartAsync("Limits:MaxRequestBytes=2048");
        string json = $$"""{"prompt":"{{new string('a', 3000)}}"}""";
        using HttpResponseMessage known = await server.Client.PostAsync(Completions, new StringContent(json, Encoding.UTF8, "application/json"));
        await AssertErrorAsync(known, 413, "invalid_request_error", "request_too_large", null);
        using var chunked = new HttpRequestMessage(HttpMethod.Post, Completions) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        chunked.Headers.TransferEncodingChunked = true;
        using HttpResponseMessage unknown = await server.Client.SendAsync(chunked);
        await AssertErrorAsync(unknown, 413, "invalid_request_error", "request_too_large", null);
    }

    [Fact]
    public async Task Strict_servers_refuse_unknown_fields_and_no_known_one()
    {
        await using TestServer server = await TestServer.StartAsync("Limits:StrictRequests=true", "--trust-request-chat-template");
        using HttpResponseMessage unknown = await PostAsync(Completions, """{"prompt":"a","max_tokens":1,"tempratur":1}""", server);
        await AssertErrorAsync(unknown, 400, "invalid_request_error", "unsupported_parameter", "tempratur");
        using HttpResponseMessage completion = await PostAsync(Completions, KnownFields.Completion, server);
        Assert.True(completion.StatusCode == HttpStatusCode.OK, await completion.Content.ReadAsStringAsync());
        using HttpResponseMessage chat = await PostAsync(Chat, KnownFields.Chat, server);
        Assert.True(chat.StatusCode == HttpStatusCode.OK, await chat.Content.ReadAsStringAsync());
        using HttpResponseMessage broken = await PostAsync(Chat, """{"messages":[{"role":"user","content":"x"}],"chat_template":"{% if %}"}""", server);
        await AssertErrorAsync(broken, 400, "invalid_request_error", "invalid_value", "chat_template");
    }

    [Fact]
    public async Task Null_equals_absent_for_every_field()
    {
        foreach ((string path, string json) in ((string, string)[])[(Completions, KnownFields.Completion), (Chat, KnownFields.Chat)])
        {
            using JsonDocument full = JsonDocument.Parse(json);
            string[] keep = ["prompt", "messages", "max_tokens"];
            string nulls = string.Join(',', full.RootElement.EnumerateObject().Where(field => !keep.Contains(field.Name)).Select(field => $"\"{field.Name}\":null"));
            using HttpResponseMessage response = await PostAsync(path, $"{{{Base(path)},{nulls}}}".Replace('\'', '"'));
            Assert.True(response.StatusCode == HttpStatusCode.OK, await response.Content.ReadAsStringAsync());
        }
    }

    private static string Base(string path) => path switch
    {
        Completions => "'prompt':'a','max_tokens':1",
        Chat or Render => "'messages':[{'role':'user','content':'a'}],'max_tokens':1",
        Tokenize => "'prompt':'a'",
        _ => "'tokens':[5]",
    };

    private Task<HttpResponseMessage> PostAsync(string path, string json, TestServer? server = null) =>
        (server ?? fixture.Server).Client.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/json"));

    private static async Task<JsonElement> AssertErrorAsync(HttpResponseMessage response, int status, string type, string code, string? param)
    {
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(status == (int)response.StatusCode, $"{response.StatusCode}: {text}");
        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        Assert.True(response.Headers.Contains("x-request-id"));
        JsonElement error = JsonDocument.Parse(text).RootElement.GetProperty("error");
        Assert.Equal(["message", "type", "param", "code"], error.EnumerateObject().Select(field => field.Name));
        Assert.Equal((type, code, param), (error.GetProperty("type").GetString(), error.GetProperty("code").GetString(), error.GetProperty("param").GetString()));
        Assert.NotEqual("", error.GetProperty("message").GetString());
        return error;
    }
}
