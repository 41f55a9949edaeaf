using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceService.Text.Tokenization;
using InferenceService.Text.Tokenization.Decoders;
using InferenceService.Text.Tokenization.Normalizers;
using InferenceService.Text.Tokenization.PreTokenizers;

namespace InferenceService.Text.Tests.Tokenization;

/// <summary>Every component against what Hugging Face's own library made of the same settings and texts.</summary>
public sealed class ComponentGoldenTests
{
    private static readonly Lazy<JsonElement[]> Lines = new(ReadLines);

    private static readonly Lazy<string> Charsmap = new(() =>
        JsonSerializer.Deserialize<JsonElement>(Goldens.Json("t5-small")).GetProperty("normalizer").GetProperty("precompiled_charsmap").GetString()!);

    public static TheoryData<int, string> Of(string kind)
    {
        var data = new TheoryData<int, string>();
        for (int i = 0; i < Lines.Value.Length; i++)
        {
            JsonElement line = Lines.Value[i];
            if (line.GetProperty("kind").GetString() == kind)
                data.Add(i, line.GetProperty("part").GetRawText());
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Of), "normalizer")]
    public void Normalizers_agree(int line, string part)
    {
        INormalizer normalizer = NormalizerReader.Read(Part(part.Replace("\"T5\"", $"\"{Charsmap.Value}\"", StringComparison.Ordinal)));
        Compare(line, input => normalizer.Normalize(input.GetString()!), expected => expected.GetString()!);
    }

    [Theory]
    [MemberData(nameof(Of), "pre_tokenizer")]
    public void Pre_tokenizers_agree(int line, string part)
    {
        IPreTokenizer preTokenizer = PreTokenizerReader.Read(Part(part));
        Compare(line, input => Split(preTokenizer, input.GetString()!), expected => Show(expected.EnumerateArray().Select(e => e.GetString()!)));
    }

    [Theory]
    [MemberData(nameof(Of), "decoder")]
    public void Decoders_agree(int line, string part)
    {
        JsonPart json = Part(part);
        IDecoder decoder = json.IsNull ? new SpaceJoin() : DecoderReader.Read(json);
        Compare(line, input => Decode(decoder, input), expected => expected.GetString()!);
    }

    [Theory]
    [MemberData(nameof(Of), "tokenizer")]
    public void Whole_tokenizers_agree(int line, string part)
    {
        Tokenizer tokenizer = Tokenizer.FromJson(FullFile(part));
        var problems = new StringBuilder();
        foreach (JsonElement c in Lines.Value[line].GetProperty("cases").EnumerateArray())
        {
            int[] expected = [.. c[2].EnumerateArray().Select(e => e.GetInt32())];
            int[] ids = tokenizer.Encode(c[0].GetString()!, c[1].GetBoolean());
            if (!ids.SequenceEqual(expected))
                problems.AppendLine($"{c[0].GetRawText()} {c[1]}\n  expected {string.Join(' ', expected)}\n  encoded  {string.Join(' ', ids)}");
            foreach (bool skip in (bool[])[false, true])
            {
                string decoded = tokenizer.Decode(expected, skip);
                string wanted = c[skip ? 4 : 3].GetString()!;
                if (decoded != wanted)
                    problems.AppendLine($"{c[0].GetRawText()} skip {skip}\n  expected {JsonSerializer.Serialize(wanted)}\n  decoded  {JsonSerializer.Serialize(decoded)}");
            }
        }

        Assert.True(problems.Length == 0, problems.ToString());
    }

    /// <summary>A tokenizer.json: the line's own, or a golden folder's with some fields replaced.</summary>
    private static byte[] FullFile(string part)
    {
        JsonObject json = JsonNode.Parse(part.Replace("\"T5\"", $"\"{Charsmap.Value}\"", StringComparison.Ordinal))!.AsObject();
        if (json["base"] is { } name)
        {
            JsonObject full = JsonNode.Parse(Goldens.Json(name.GetValue<string>()))!.AsObject();
            foreach ((string field, JsonNode? value) in json["override"]!.AsObject())
            {
                if (field == "model")
                    full["model"]![value!.GetValue<string>()] = true;
                else
                    full[field] = value?.DeepClone();
            }

            json = full;
        }

        return JsonSerializer.SerializeToUtf8Bytes(json);
    }

    private static void Compare(int line, Func<JsonElement, string> run, Func<JsonElement, string> show)
    {
        var problems = new StringBuilder();
        foreach (JsonElement pair in Lines.Value[line].GetProperty("cases").EnumerateArray())
        {
            string expected = show(pair[1]);
            string actual = run(pair[0]);
            if (expected != actual)
                problems.AppendLine($"{pair[0].GetRawText()}\n  expected {JsonSerializer.Serialize(expected)}\n  actual   {JsonSerializer.Serialize(actual)}");
        }

        Assert.True(problems.Length == 0, problems.ToString());
    }

    private static string Split(IPreTokenizer preTokenizer, string text)
    {
        var pieces = new Pieces();
        pieces.Reset(text, atStart: true);
        preTokenizer.Split(pieces);
        return Show(Enumerable.Range(0, pieces.Count).Select(i => pieces.Text(pieces[i]).ToString()));
    }

    private static string Show(IEnumerable<string> pieces) => string.Join('|', pieces.Select(p => JsonSerializer.Serialize(p)));

    private static string Decode(IDecoder decoder, JsonElement tokens)
    {
        var text = new ByteBuffer();
        IDecoderStage stage = decoder.NewStage(text, raw: false);
        foreach (JsonElement token in tokens.EnumerateArray())
        {
            stage.Write(Encoding.UTF8.GetBytes(token.GetString()!));
            stage.EndToken();
        }

        stage.End();
        return Encoding.UTF8.GetString(text.Span);
    }

    private static JsonPart Part(string json) => new(JsonSerializer.Deserialize<JsonElement>(json), "part");

    private static JsonElement[] ReadLines()
    {
        using var packed = new GZipStream(File.OpenRead(Path.Combine(Goldens.Folder, "components", "components.jsonl.gz")), CompressionMode.Decompress);
        using var reader = new StreamReader(packed);
        var lines = new List<JsonElement>();
        while (reader.ReadLine() is { } line)
            lines.Add(JsonSerializer.Deserialize<JsonElement>(line));
        return [.. lines];
    }
}
