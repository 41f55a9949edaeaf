using System.Text;
using InferenceService.Text.Tokenization;

namespace InferenceService.Text.Tests.Tokenization;

/// <summary>Damaged and hostile files end in one line that names the place, never in a crash.</summary>
public sealed class TokenizerJsonTests
{
    private const string Model = """{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}""";

    [Theory]
    [InlineData("", "is not valid JSON")]
    [InlineData("{", "is not valid JSON")]
    [InlineData("null", "must be an object")]
    [InlineData("[]", "must be an object")]
    [InlineData("{}", "has no model")]
    [InlineData("{\"model\":7}", "model must be an object")]
    [InlineData("{\"model\":{}}", "model has neither type nor vocab")]
    [InlineData("{\"model\":{\"type\":\"Magic\"}}", "model has the unknown type \"Magic\"")]
    [InlineData("{\"model\":{\"type\":\"BPE\"}}", "model has no vocab")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", "model has no merges")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", "model.vocab must be an object")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "the id \"-1\"")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":2000000000},\"merges\":[]}}", "from 0 to 2097151")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":2000000},\"merges\":[]}}", "has ids up to 2000000 for 1 tokens; at most 65543 is allowed")]
    [InlineData("{\"added_tokens\":[{\"content\":\"x\",\"id\":2000000}],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", "added_tokens has ids up to 2000000 for 2 tokens")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1.5},\"merges\":[]}}", "the id \"1.5\"")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", "gives \"a\" the id")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\ud800\":0},\"merges\":[]}}", "not valid Unicode")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":{}}}", "model.merges must be an array")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "number 0 is \"a\"")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b c\"]}}", "one space between")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "has 1 parts")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\",7]]}}", "must be a string")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "needs the token \"aa\"")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a x\"]}}", "needs the token \"x\"")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "has 1 parts")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"x\"]]}}", "must be a number")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", "must be finite")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":5}}", "from 0 to 0")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"vocab\":[],\"unk_id\":0}}", "is empty")]
    [InlineData("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0},\"max_input_chars_per_word\":\"x\"}}", "must be a number")]
    public void A_damaged_model_is_one_line(string json, string expected) => Refuses(json, expected);

    [Theory]
    [InlineData("normalizer", "{\"type\":\"Upside\"}", "normalizer has the unknown type \"Upside\"")]
    [InlineData("normalizer", "{}", "normalizer has no type")]
    [InlineData("normalizer", "\"NFC\"", "normalizer must be an object")]
    [InlineData("normalizer", "{\"type\":\"Sequence\"}", "normalizer has no normalizers")]
    [InlineData("normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"X\"}]}", "normalizer.normalizers[0] has the unknown type")]
    [InlineData("normalizer", "{\"type\":\"Prepend\"}", "normalizer has no prepend")]
    [InlineData("normalizer", "{\"type\":\"Replace\",\"content\":\"\"}", "normalizer has no pattern")]
    [InlineData("normalizer", "{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{}}", "must have String or Regex")]
    [InlineData("normalizer", "{\"type\":\"Replace\",\"content\":\"\",\"pattern\":{\"Regex\":\"(\"}}", "group without")]
    [InlineData("normalizer", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"}", "is not base64")]
    [InlineData("normalizer", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AA==\"}", "at least a size")]
    [InlineData("normalizer", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////fw==\"}", "names a trie of")]
    [InlineData("normalizer", "{\"type\":\"BertNormalizer\",\"lowercase\":1}", "lowercase must be true or false")]
    [InlineData("pre_tokenizer", "{\"type\":\"Upside\"}", "pre_tokenizer has the unknown type")]
    [InlineData("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"Eaten\"}", "behavior is \"Eaten\"")]
    [InlineData("pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"}}", "has no behavior")]
    [InlineData("pre_tokenizer", "{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"ab\"}", "must be one character")]
    [InlineData("pre_tokenizer", "{\"type\":\"FixedLength\",\"length\":0}", "from 1 to")]
    [InlineData("pre_tokenizer", "{\"type\":\"Metaspace\",\"prepend_scheme\":\"maybe\"}", "always, first or never")]
    [InlineData("pre_tokenizer", "{\"type\":\"Metaspace\",\"prepend_scheme\":\"first\",\"add_prefix_space\":false}", "contradicts")]
    [InlineData("post_processor", "{\"type\":\"Upside\"}", "post_processor has the unknown type")]
    [InlineData("post_processor", "{\"type\":\"BertProcessing\",\"sep\":[\"x\"],\"cls\":[\"y\",1]}", "must be [token, id]")]
    [InlineData("post_processor", "{\"type\":\"BertProcessing\",\"sep\":[\"x\",1],\"cls\":[\"y\",32767]}", "post_processor adds the id 32767, and the vocabulary ends at")]
    [InlineData("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[],\"special_tokens\":{}}", "exactly once")]
    [InlineData("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{}}", "has no x")]
    [InlineData("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}],\"special_tokens\":{}}", "exactly once")]
    [InlineData("decoder", "{\"type\":\"Upside\"}", "decoder has the unknown type")]
    [InlineData("decoder", "{\"type\":\"Strip\",\"content\":\"\",\"start\":0,\"stop\":0}", "must be one character")]
    [InlineData("decoder", "{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}", "from 0 to 1000")]
    [InlineData("added_tokens", "{}", "added_tokens must be an array")]
    [InlineData("added_tokens", "[{\"id\":1}]", "added_tokens[0] has no content")]
    [InlineData("added_tokens", "[{\"content\":\"x\"}]", "added_tokens[0] has no id")]
    [InlineData("added_tokens", "[{\"content\":\"x\",\"id\":4000000000}]", "from 0 to 2097151")]
    public void A_damaged_part_is_one_line(string field, string json, string expected) =>
        Refuses("{\"" + field + "\":" + json + ",\"model\":" + Model + "}", expected);

    [Fact]
    public void Deep_nesting_is_refused()
    {
        string deep = string.Concat(Enumerable.Repeat("{\"type\":\"Sequence\",\"normalizers\":[", 5000));
        Refuses("{\"normalizer\":" + deep, "is not valid JSON");
    }

    [Fact]
    public void A_hostile_value_is_quoted_short_and_on_one_line()
    {
        string type = string.Concat(Enumerable.Repeat("x\\n\\u2028\\u0000", 5000));
        string message = Refuses("{\"model\":{\"type\":\"" + type + "\"}}", "unknown type");
        Assert.InRange(message.Length, 20, 200);
    }

    [Fact]
    public void A_normalizer_cannot_blow_a_text_up_without_bound()
    {
        string twice = string.Join(',', Enumerable.Repeat("{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaa\"}", 20));
        Tokenizer tokenizer = Parse("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" + twice + "]},\"model\":" + Model + "}");
        Assert.Contains("blows", Assert.Throws<TokenizerException>(() => tokenizer.Encode("aaaa", false)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("t5-small")]
    public void A_truncated_file_is_refused_wherever_it_ends(string name)
    {
        byte[] json = Goldens.Json(name);
        for (int i = 0; i < 12; i++)
        {
            int length = (int)((long)json.Length * i / 12);
            Assert.Contains("is not valid JSON", Assert.Throws<TokenizerException>(() => Tokenizer.FromJson(json.AsMemory(0, length))).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_damaged_file_loads_or_is_refused_but_never_crashes()
    {
        byte[] whole = Encoding.UTF8.GetBytes("""
            {"added_tokens":[{"id":3,"content":"<s>","special":true,"lstrip":true,"normalized":true}],
             "normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Replace","pattern":{"Regex":"[ \\t]{2,}|x(?=y)"},"content":" "},{"type":"Strip"},
               {"type":"Precompiled","precompiled_charsmap":"CAAAAAAAAAAAAAAAYQA="}]},
             "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s)|\\p{L}+|\\s+(?!\\S)"},"behavior":"Isolated","invert":false},{"type":"Metaspace","prepend_scheme":"first"}]},
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"ids":[3]}}},
             "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
             "model":{"type":"BPE","unk_token":"b","fuse_unk":true,"byte_fallback":true,"vocab":{"a":0,"b":1,"ab":2,"<0x41>":4},"merges":["a b",["a","b"]]}}
            """);
        Assert.NotEmpty(Tokenizer.FromJson(whole).Encode("ab A's  xy", true));
        var chance = new Random(20250711);
        int refused = 0;
        for (int round = 0; round < 4000; round++)
        {
            byte[] damaged = [.. whole];
            for (int hits = chance.Next(1, 4); hits > 0; hits--)
                damaged[chance.Next(damaged.Length)] = (byte)(chance.Next(3) == 0 ? chance.Next(256) : "{}[]\",:0123456789\\abe-+.() "[chance.Next(27)]);
            try
            {
                Tokenizer tokenizer = Tokenizer.FromJson(damaged);
                int[] ids = tokenizer.Encode("ab <s> A's  xy \u0301é", true);
                tokenizer.Decode(ids, false);
                tokenizer.TokenText(ids.Length > 0 ? ids[0] : 0);
            }
            catch (TokenizerException e)
            {
                Assert.DoesNotContain('\n', e.Message);
                refused++;
            }
        }

        Assert.InRange(refused, 1000, 3999);
    }

    private static Tokenizer Parse(string json) => Tokenizer.FromJson(Encoding.UTF8.GetBytes(json));

    private static string Refuses(string json, string expected)
    {
        TokenizerException e = Assert.Throws<TokenizerException>(() => Parse(json));
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
        Assert.InRange(e.Message.Length, 10, 400);
        return e.Message;
    }
}
