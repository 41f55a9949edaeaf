using System.Buffers;
using System.Text;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Server.Api;
using InferenceService.Server.Api.Output;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Tests.Api.Output;

public sealed class TokenJsonTests
{
    [Fact]
    public void Tokens_of_prompt_logprobs_are_written_like_any_text()
    {
        var tokenizer = Tokenizer.FromJson("""
            {"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":{"type":"Fuse"},
             "model":{"type":"BPE","vocab":{"😀":0,"\u2028":1},"merges":[]}}
            """u8.ToArray());
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, OpenAiJson.WriterOptions))
        {
            json.WriteStartObject();
            TokenJson.WritePrompt(json, tokenizer, [1, 0], [null, new TokenLogprobs(-1, [0, 1], [-1, -2])]);
            json.WriteEndObject();
        }

        Assert.Equal(
            """{"prompt_logprobs":[null,{"0":{"logprob":-1,"rank":1,"decoded_token":"😀"},"1":{"logprob":-2,"rank":2,"decoded_token":"\u2028"}}]}""",
            Encoding.UTF8.GetString(buffer.WrittenSpan));
    }
}
