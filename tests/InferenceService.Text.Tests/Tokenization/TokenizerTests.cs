using System.Text;
using System.Text.Json;
using InferenceService.Text.Tokenization;

namespace InferenceService.Text.Tests.Tokenization;

public sealed class TokenizerTests
{
    [Theory]
    [InlineData("gpt2", 50257)]
    [InlineData("cl100k", 100277)]
    [InlineData("llama2-spm", 32000)]
    [InlineData("t5-small", 32100)]
    public void The_vocabulary_ends_after_the_highest_id(string name, int size)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        Assert.Equal(size, tokenizer.VocabularySize);
        Assert.NotNull(tokenizer.IdToToken(size - 1));
        Assert.Null(tokenizer.IdToToken(size));
        Assert.Null(tokenizer.IdToToken(-1));
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("cl100k")]
    [InlineData("llama2-spm")]
    [InlineData("t5-small")]
    public void Ids_and_tokens_name_each_other(string name)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        for (int id = 0; id < tokenizer.VocabularySize; id += 7)
        {
            if (tokenizer.IdToToken(id) is { } token)
                Assert.Equal(id, tokenizer.TokenToId(token));
        }

        Assert.Null(tokenizer.TokenToId("no such token, surely"));
    }

    [Theory]
    [InlineData("gpt2", 128)]
    [InlineData("cl100k", 128)]
    [InlineData("llama2-spm", 16)]
    public void The_longest_token_bounds_the_ids_of_a_text(string name, int longest)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        Assert.Equal(1000, tokenizer.FewestTokens(new string('a', 1000 * longest)));
        var chance = new Random(7);
        for (int round = 0; round < 200; round++)
        {
            string text = RandomText(chance) + new string(' ', chance.Next(500));
            Assert.InRange(tokenizer.FewestTokens(text), 1, tokenizer.Encode(text, false).Length);
        }
    }

    [Fact]
    public void Text_that_may_vanish_bounds_nothing()
    {
        Assert.Equal(0, Goldens.Tokenizer("t5-small").FewestTokens(new string('a', 1000)));
        Assert.Equal(0, Unknowns("""{"type":"BPE","vocab":{"a":0},"merges":[]}""").FewestTokens("bbbb"));
        Assert.Equal(0, Unknowns("""{"type":"BPE","unk_token":"a","fuse_unk":true,"vocab":{"a":0},"merges":[]}""").FewestTokens("bbbb"));
        Tokenizer marked = Unknowns("""{"type":"BPE","unk_token":"a","vocab":{"a":0},"merges":[]}""");
        Assert.Equal(4, marked.Encode("😀😀😀😀", false).Length);
        Assert.Equal(4, marked.FewestTokens("😀😀😀😀"));
    }

    [Fact]
    public void White_space_that_an_added_token_swallows_does_not_count()
    {
        Tokenizer tokenizer = Unknowns("""{"type":"BPE","unk_token":"a","vocab":{"a":0},"merges":[]}""", added: """
            {"id":1,"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":true,"normalized":false,"special":true}
            """);
        string text = "<|end|>" + new string(' ', 100);
        Assert.Equal([1], tokenizer.Encode(text, false));
        Assert.Equal(1, tokenizer.FewestTokens(text));
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("cl100k")]
    public void Byte_level_encodings_come_back_byte_for_byte(string name)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        var chance = new Random(5);
        for (int round = 0; round < 200; round++)
        {
            string text = RandomText(chance);
            int[] ids = tokenizer.Encode(text, false);
            Assert.Equal(text, tokenizer.Decode(ids, false));
            Assert.Equal(Encoding.UTF8.GetBytes(text), ids.SelectMany(tokenizer.TokenBytes));
        }
    }

    [Fact]
    public void Byte_fallback_encodings_come_back_byte_for_byte()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("llama2-spm");
        var chance = new Random(6);
        for (int round = 0; round < 200; round++)
        {
            string text = RandomText(chance).Replace('▁', 'x');
            int[] ids = tokenizer.Encode(text, false);
            Assert.Equal(text, tokenizer.Decode(ids, false));
            Assert.Equal(Encoding.UTF8.GetBytes(text.Length == 0 ? "" : " " + text), ids.SelectMany(tokenizer.TokenBytes));
        }
    }

    [Theory]
    [InlineData("llama2-spm", "▁Hello", " Hello")]
    [InlineData("llama2-spm", "<0x0A>", "\n")]
    [InlineData("llama2-spm", "<0xE4>", "\uFFFD")]
    [InlineData("llama2-spm", "<s>", "<s>")]
    [InlineData("llama2-spm", "▁", " ")]
    [InlineData("t5-small", "▁the", " the")]
    [InlineData("t5-small", "</s>", "</s>")]
    [InlineData("gpt2", "Ġthe", " the")]
    [InlineData("gpt2", "Ċ", "\n")]
    [InlineData("gpt2", "ä", "\uFFFD")]
    [InlineData("cl100k", "<|endoftext|>", "<|endoftext|>")]
    public void A_token_contributes_what_it_does_inside_a_text(string name, string token, string text)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        Assert.Equal(text, tokenizer.TokenText(tokenizer.TokenToId(token)!.Value));
    }

    [Fact]
    public void An_unknown_id_contributes_nothing()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("cl100k");
        foreach (int id in (int[])[-1, 100256, 100261, 1_000_000, int.MaxValue, int.MinValue])
        {
            Assert.Empty(tokenizer.TokenBytes(id));
            Assert.Equal("", tokenizer.TokenText(id));
            Assert.Equal("ab", tokenizer.Decode([64, id, 65], false));
            Assert.False(tokenizer.IsSpecial(id));
        }
    }

    [Fact]
    public void The_bytes_of_a_token_belong_to_the_caller()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("gpt2");
        tokenizer.TokenBytes(64)[0] = 0;
        Assert.Equal("a"u8.ToArray(), tokenizer.TokenBytes(64));
    }

    [Fact]
    public void Special_tokens_in_a_text_are_found_or_plain_text_as_asked()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("cl100k");
        Assert.Contains(100264, tokenizer.Encode("<|im_start|>user", false));
        Assert.True(tokenizer.IsSpecial(100264));
        int[] plain = tokenizer.Encode("<|im_start|>user", false, parseSpecialTokens: false);
        Assert.DoesNotContain(100264, plain);
        Assert.Equal("<|im_start|>user", tokenizer.Decode(plain, skipSpecialTokens: true));
        Assert.Equal("user", tokenizer.Decode(tokenizer.Encode("<|im_start|>user", false), skipSpecialTokens: true));
    }

    [Fact]
    public void Added_tokens_that_are_not_special_are_found_either_way()
    {
        Tokenizer tokenizer = Tokenizer.FromJson(Encoding.UTF8.GetBytes("""
            {"added_tokens":[{"id":3,"content":"<think>"},{"id":4,"content":"<|end|>","special":true}],
             "model":{"type":"BPE","vocab":{"a":0,"<":1,">":2},"merges":[]}}
            """));
        Assert.Equal([0, 3, 4], tokenizer.Encode("a<think><|end|>", false));
        Assert.Equal([0, 3, 1, 2], tokenizer.Encode("a<think><|end|>", false, parseSpecialTokens: false));
    }

    [Theory]
    [InlineData("\uD83D")]
    [InlineData("a\uDE00b")]
    [InlineData("\uD83D\uD83D\uDE00")]
    public void Half_a_surrogate_pair_counts_as_a_replacement_character(string text)
    {
        Tokenizer tokenizer = Goldens.Tokenizer("gpt2");
        string repaired = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
        Assert.Equal(repaired, tokenizer.Decode(tokenizer.Encode(text, false), false));
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("llama2-spm")]
    [InlineData("t5-small")]
    public void Threads_share_a_tokenizer(string name)
    {
        Tokenizer shared = Tokenizer.FromJson(Goldens.Json(name));
        (string Text, int[] Ids)[] cases = [.. Goldens.Lines(name, "goldens.jsonl").Concat(Goldens.Lines(name, "extra.jsonl"))
            .Where(l => !l.GetProperty("add_special_tokens").GetBoolean()).Select(l => (l.GetProperty("text").GetString()!, Goldens.Ids(l)))];
        Parallel.For(0, 16, new ParallelOptions { MaxDegreeOfParallelism = 4 }, worker =>
        {
            for (int i = 0; i < cases.Length; i++)
            {
                (string text, int[] ids) = cases[(i * (worker + 1)) % cases.Length];
                Assert.Equal(ids, shared.Encode(text, false));
                Assert.NotNull(shared.TokenText(ids.Length > 0 ? ids[0] : 0));
            }
        });
    }

    [Fact]
    public void Truncation_and_padding_of_the_file_do_not_apply()
    {
        JsonElement file = JsonSerializer.Deserialize<JsonElement>(Goldens.Json("t5-small"));
        Assert.Equal(32, file.GetProperty("truncation").GetProperty("max_length").GetInt32());
        Tokenizer tokenizer = Goldens.Tokenizer("t5-small");
        Assert.Equal([1], tokenizer.Encode("", true));
        Assert.True(tokenizer.Encode(string.Concat(Enumerable.Repeat("word ", 100)), true).Length > 100);
    }

    private static string RandomText(Random chance)
    {
        var text = new StringBuilder();
        for (int i = chance.Next(40); i > 0; i--)
        {
            int c = chance.Next(6) switch
            {
                0 => ' ',
                1 => '\n',
                2 or 3 => chance.Next(0x20, 0x7F),
                4 => chance.Next(0x80, 0xD800),
                _ => chance.Next(0xE000, 0x110000),
            };
            text.Append(new Rune(c));
        }

        return text.ToString();
    }

    private static Tokenizer Unknowns(string algorithm, string added = "") => Tokenizer.FromJson(Encoding.UTF8.GetBytes(
        $$"""{"version":"1.0","added_tokens":[{{added}}],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{{algorithm}}}"""));
}
