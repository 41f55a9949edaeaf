using System.Text.Json;
using InferenceService.Text.Tokenization;
using InferenceService.Text.Tokenization.Algorithms;

namespace InferenceService.Text.Tests.Tokenization.Algorithms;

public sealed class BytePairEncodingTests
{
    [Fact]
    public void Cutting_a_long_text_where_no_merge_reaches_changes_nothing()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("llama2-spm");
        JsonElement model = JsonSerializer.Deserialize<JsonElement>(Goldens.Json("llama2-spm")).GetProperty("model");
        var ranks = new Dictionary<(string, string), int>();
        foreach (JsonElement merge in model.GetProperty("merges").EnumerateArray())
        {
            string[] parts = merge.GetString()!.Split(' ');
            ranks[(parts[0], parts[1])] = ranks.Count;
        }

        // Known characters only, so that the plain algorithm needs no fallback.
        const string Text = "The quick brown fox isn't quick:  it jumps over 12,345 lazy dogs; naïve façade, e.g. «don’t».   Über-Straße "
            + "if (x[i] != y) { return foo(bar, baz); } // done";
        List<string> pieces = [.. ("▁" + Text.Replace(' ', '▁')).Select(c => c.ToString())];
        while (true)
        {
            int best = -1, rank = int.MaxValue;
            for (int i = 0; i + 1 < pieces.Count; i++)
            {
                if (ranks.TryGetValue((pieces[i], pieces[i + 1]), out int r) && r < rank)
                    (best, rank) = (i, r);
            }

            if (best < 0)
                break;
            pieces[best] += pieces[best + 1];
            pieces.RemoveAt(best + 1);
        }

        Assert.Equal(pieces, tokenizer.Encode(Text, false).Select(id => tokenizer.IdToToken(id)!));
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("cl100k")]
    [InlineData("llama2-spm")]
    public void A_huge_word_is_no_more_than_a_long_one(string name)
    {
        // Quadratic merging would take hours here.
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        foreach (string unit in (string[])["a", "ab", " ", "!", "\n", "漢", "\u0301"])
        {
            string text = string.Concat(Enumerable.Repeat(unit, 300_000 / unit.Length));
            int[] ids = tokenizer.Encode(text, false);
            Assert.InRange(ids.Length, 1, 1_000_000);
            Assert.Equal(text, tokenizer.Decode(ids, false));
        }
    }

    [Fact]
    public void Dropout_is_read_and_not_applied()
    {
        IAlgorithm Model(string dropout) => AlgorithmReader.Read(new JsonPart(JsonSerializer.Deserialize<JsonElement>(
            "{\"type\":\"BPE\",\"dropout\":" + dropout + ",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"), "model"));
        for (int i = 0; i < 20; i++)
        {
            var ids = new List<int>();
            Model("0.9").Encode("ab", ids);
            Assert.Equal([2], ids);
        }

        Assert.Contains("from 0 to 1", Assert.Throws<TokenizerException>(() => Model("1.5")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_version_line_among_the_merges_is_no_merge()
    {
        IAlgorithm model = AlgorithmReader.Read(new JsonPart(JsonSerializer.Deserialize<JsonElement>(
            """{"vocab":{"a":0,"b":1,"ab":2},"merges":["#version: 0.2","a b"]}"""), "model"));
        var ids = new List<int>();
        model.Encode("ab", ids);
        Assert.Equal([2], ids);
    }
}
