using System.Text;
using System.Text.Json;
using InferenceService.Text.Tokenization;

namespace InferenceService.Text.Tests.Tokenization;

public sealed class GoldenTests
{
    public static TheoryData<string, string> Files()
    {
        var data = new TheoryData<string, string>();
        foreach (string name in Goldens.Names)
        {
            data.Add(name, "goldens.jsonl");
            data.Add(name, "extra.jsonl");
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_golden_encodes_and_decodes_exactly(string name, string file)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        var problems = new StringBuilder();
        int lines = 0;
        foreach (JsonElement line in Goldens.Lines(name, file))
        {
            lines++;
            string text = line.GetProperty("text").GetString()!;
            int[] expected = Goldens.Ids(line);
            int[] ids = tokenizer.Encode(text, line.GetProperty("add_special_tokens").GetBoolean());
            if (!ids.SequenceEqual(expected))
                problems.AppendLine($"{lines}: {text}\n  expected {string.Join(' ', expected)}\n  encoded  {string.Join(' ', ids)}");
            if (tokenizer.FewestTokens(text) > ids.Length)
                problems.AppendLine($"{lines}: {text}\n  fewer than {tokenizer.FewestTokens(text)} tokens: {ids.Length}");
            if (line.TryGetProperty("decoded", out JsonElement decoded) && tokenizer.Decode(expected, false) != decoded.GetString())
                problems.AppendLine($"{lines}: expected {decoded.GetString()}\n  decoded {tokenizer.Decode(expected, false)}");
        }

        Assert.True(problems.Length == 0, problems.ToString());
        Assert.True(lines > 5);
    }
}
