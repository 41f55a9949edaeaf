using System.Text;
using InferenceService.Text.Tokenization;

namespace InferenceService.Text.Tests.Tokenization;

public sealed class DetokenizerTests
{
    private static readonly string Bert = """
        {"added_tokens":[{"id":0,"content":"[UNK]","special":true},{"id":1,"content":"[SEP]","special":true}],
         "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
         "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
                  "vocab":{"[UNK]":0,"[SEP]":1,"hello":2,"##s":3,".":4,"n't":5,"##é":6}}}
        """;

    public static TheoryData<string> All() => new(Goldens.Names.Append("bert"));

    [Theory]
    [MemberData(nameof(All))]
    public void Deltas_concatenate_to_the_whole_for_random_ids(string name)
    {
        Tokenizer tokenizer = Load(name);
        var chance = new Random(20250711);
        int[] awkward = Awkward(tokenizer);
        for (int round = 0; round < 400; round++)
        {
            int[] ids = RandomIds(chance, tokenizer, awkward);
            bool skip = chance.Next(2) == 0;
            var text = new StringBuilder();
            Detokenizer stream = tokenizer.NewDetokenizer(skip);
            foreach (int id in ids)
            {
                string delta = stream.Append(id);
                AssertWholeCharacters(delta);
                text.Append(delta);
            }

            text.Append(stream.Flush());
            Assert.Equal(tokenizer.Decode(ids, skip), text.ToString());
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void A_stream_after_a_prompt_is_the_rest_of_the_text_under_every_split(string name)
    {
        Tokenizer tokenizer = Load(name);
        foreach (string text in (string[])["Hello world, this is it.", " leading", "line\n\nline  two", "naïve 中文 😀😀 end", "hellos hello."])
        {
            int[] ids = tokenizer.Encode(text, addSpecialTokens: true);
            foreach (bool skip in (bool[])[false, true])
            {
                string whole = tokenizer.Decode(ids, skip);
                for (int split = 0; split <= ids.Length; split++)
                {
                    string prompt = tokenizer.Decode(ids.AsSpan(0, split), skip);
                    if (prompt.Contains('\uFFFD'))
                        continue; // The prompt ends inside a character: there is no border between the two texts.
                    Detokenizer stream = tokenizer.NewDetokenizer(skip, ids.AsSpan(0, split));
                    var rest = new StringBuilder();
                    foreach (int id in ids.AsSpan(split))
                        rest.Append(stream.Append(id));
                    rest.Append(stream.Flush());
                    Assert.Equal(whole, prompt + rest);
                }
            }
        }
    }

    [Fact]
    public void A_leading_space_is_kept_after_a_prompt_only()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("llama2-spm");
        int[] prompt = tokenizer.Encode("Once", addSpecialTokens: true);
        int upon = tokenizer.TokenToId("▁upon")!.Value;
        Assert.Equal("upon", tokenizer.NewDetokenizer(true).Append(upon));
        Assert.Equal(" upon", tokenizer.NewDetokenizer(true, prompt).Append(upon));
        Assert.Equal(" upon", tokenizer.NewDetokenizer(true, prompt.AsSpan()[^1..]).Append(upon));

        // A tail of nothing but skipped control tokens is no text to continue.
        Assert.Equal("upon", tokenizer.NewDetokenizer(true, [1, 2]).Append(upon));
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("llama2-spm")]
    public void Half_a_character_at_the_end_of_a_prompt_is_completed_or_not_the_streams(string name)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        int[] character = tokenizer.Encode("a𠀀", false);
        int[] half = character[..^1];
        int[] next = tokenizer.Encode(" b", false)[^1..];
        Assert.Equal("𠀀", Stream(keepsRest: false, character[^1]));
        Assert.Equal("𠀀", Stream(keepsRest: true, character[^1]));
        Assert.Equal(tokenizer.TokenText(next[0]), Stream(keepsRest: false, next));
        Assert.Equal("", Stream(keepsRest: false));
        string kept = Stream(keepsRest: true, next);
        Assert.StartsWith("\uFFFD", kept, StringComparison.Ordinal);
        Assert.EndsWith(tokenizer.TokenText(next[0]), kept, StringComparison.Ordinal);
        // A replacement character of the stream's own stays.
        Assert.EndsWith("x\uFFFD", Stream(keepsRest: false, [next[0], .. tokenizer.Encode("x\uFFFD", false)]), StringComparison.Ordinal);

        string Stream(bool keepsRest, params int[] ids)
        {
            Detokenizer stream = tokenizer.NewDetokenizer(true, half, keepsRest);
            return string.Concat(ids.Select(stream.Append)) + stream.Flush();
        }
    }

    [Fact]
    public void A_character_appears_with_its_last_byte()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("gpt2");
        Detokenizer stream = tokenizer.NewDetokenizer(false);
        int[] ids = tokenizer.Encode("𠀀", false);
        Assert.True(ids.Length > 1);
        Assert.All(ids[..^1], id => Assert.Equal("", stream.Append(id)));
        Assert.Equal("𠀀", stream.Append(ids[^1]));
        Assert.Equal("", stream.Flush());
    }

    [Fact]
    public void Flush_gives_up_an_incomplete_character_once()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("gpt2");
        int[] ids = tokenizer.Encode("é𠀀", false);
        Detokenizer stream = tokenizer.NewDetokenizer(false);
        Assert.Equal("é", string.Concat(ids[..^1].Select(stream.Append)));
        Assert.Equal("\uFFFD", stream.Flush());
        Assert.Equal("", stream.Flush());
        Assert.Throws<InvalidOperationException>(() => stream.Append(ids[0]));
    }

    [Fact]
    public void A_long_stream_costs_the_same_per_token()
    {
        // Re-decoding the whole text for every token would take minutes and gigabytes here.
        Tokenizer tokenizer = Goldens.Tokenizer("llama2-spm");
        int[] ids = tokenizer.Encode("The cat sat on the mat.\n", false);
        Detokenizer stream = tokenizer.NewDetokenizer(true);
        long before = GC.GetAllocatedBytesForCurrentThread();
        long length = 0;
        for (int i = 0; i < 100_000; i++)
            length += stream.Append(ids[i % ids.Length]).Length;
        Assert.True(length > 300_000);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / 100_000, 0, 64);
    }

    private static Tokenizer Load(string name) => name == "bert" ? Tokenizer.FromJson(Encoding.UTF8.GetBytes(Bert)) : Goldens.Tokenizer(name);

    /// <summary>Ids that decoders treat specially: single bytes, parts of characters, spaces, added tokens.</summary>
    private static int[] Awkward(Tokenizer tokenizer)
    {
        var ids = new List<int>();
        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            byte[] bytes = tokenizer.TokenBytes(id);
            if (tokenizer.IsSpecial(id) || bytes.Length < 2 || tokenizer.TokenText(id).Contains('\uFFFD') || bytes[0] == ' ' && bytes.Length < 4)
                ids.Add(id);
        }

        return [.. ids];
    }

    private static int[] RandomIds(Random chance, Tokenizer tokenizer, int[] awkward)
    {
        int[] ids = new int[chance.Next(0, 40)];
        for (int i = 0; i < ids.Length; i++)
        {
            ids[i] = chance.Next(10) switch
            {
                < 4 => awkward[chance.Next(awkward.Length)],
                < 9 => chance.Next(tokenizer.VocabularySize),
                _ => chance.Next(-5, tokenizer.VocabularySize + 1000),
            };
        }

        return ids;
    }

    private static void AssertWholeCharacters(string delta)
    {
        for (int i = 0; i < delta.Length; i++)
        {
            if (char.IsHighSurrogate(delta[i]))
                Assert.True(i + 1 < delta.Length && char.IsLowSurrogate(delta[++i]));
            else
                Assert.False(char.IsLowSurrogate(delta[i]));
        }
    }
}
