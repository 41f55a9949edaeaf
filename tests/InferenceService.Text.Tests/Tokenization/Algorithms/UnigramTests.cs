using System.Globalization;
using System.Text;
using System.Text.Json;
using InferenceService.Text.Tokenization;
using InferenceService.Text.Tokenization.Algorithms;

namespace InferenceService.Text.Tests.Tokenization.Algorithms;

public sealed class UnigramTests
{
    [Fact]
    public void The_best_segmentation_is_found()
    {
        var chance = new Random(11);
        for (int round = 0; round < 150; round++)
        {
            var scores = new Dictionary<string, double> { ["<unk>"] = -100, ["a"] = -3, ["b"] = -3.25 };
            for (int i = chance.Next(8); i > 0; i--)
                scores[Word(chance, chance.Next(2, 5))] = -1 - (chance.Next(1000) / 100.0);
            string json = string.Join(',', scores.Select(s => $"[\"{s.Key}\",{s.Value.ToString(CultureInfo.InvariantCulture)}]"));
            IAlgorithm model = Read($$"""{"type":"Unigram","unk_id":0,"vocab":[{{json}}]}""");
            string text = Word(chance, chance.Next(1, 11));
            var ids = new List<int>();
            model.Encode(text, ids);
            var tokens = ids.Select(id => model.Vocabulary.TokenOf(id)!).ToList();
            Assert.Equal(text, string.Concat(tokens));
            Assert.Equal(Best(text, scores), tokens.Sum(t => scores[t]), 9);
        }
    }

    [Theory]
    [InlineData("abcdacdxx", "abcd a cd <unk>")]
    [InlineData("xxabc", "<unk> abc")]
    [InlineData("axa", "a <unk> a")]
    public void Unknown_neighbours_fuse(string text, string expected)
    {
        IAlgorithm model = Read("""{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",0],["b",0],["c",0],["d",0],["cd",1],["ab",2],["abc",5],["abcd",10]]}""");
        var ids = new List<int>();
        model.Encode(text, ids);
        Assert.Equal(expected, string.Join(' ', ids.Select(id => model.Vocabulary.TokenOf(id))));
    }

    [Fact]
    public void Without_an_unknown_token_what_is_unknown_is_left_out()
    {
        IAlgorithm model = Read("""{"type":"Unigram","vocab":[["a",-1]]}""");
        var ids = new List<int>();
        model.Encode("xax", ids);
        Assert.Equal([0], ids);
    }

    private static double Best(string text, Dictionary<string, double> scores)
    {
        double[] best = [.. Enumerable.Repeat(double.NegativeInfinity, text.Length + 1)];
        best[0] = 0;
        for (int end = 1; end <= text.Length; end++)
        {
            for (int start = 0; start < end; start++)
            {
                if (scores.TryGetValue(text[start..end], out double score))
                    best[end] = Math.Max(best[end], best[start] + score);
            }
        }

        return best[^1];
    }

    private static string Word(Random chance, int length)
    {
        var word = new StringBuilder();
        for (int i = 0; i < length; i++)
            word.Append(chance.Next(2) == 0 ? 'a' : 'b');
        return word.ToString();
    }

    private static IAlgorithm Read(string json) => AlgorithmReader.Read(new JsonPart(JsonSerializer.Deserialize<JsonElement>(json), "model"));
}
