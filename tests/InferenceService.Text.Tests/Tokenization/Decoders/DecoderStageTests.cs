using System.Text;
using System.Text.Json;
using InferenceService.Text.Tokenization;
using InferenceService.Text.Tokenization.Decoders;

namespace InferenceService.Text.Tests.Tokenization.Decoders;

public sealed class DecoderStageTests
{
    private const string Spm = """{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}""";
    private const string FusedFirst = """{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"aab"},"content":"<>"},{"type":"Strip","content":"é","start":2,"stop":2}]}""";

    [Fact]
    public void How_a_token_is_cut_into_parts_does_not_show()
    {
        var chance = new Random(3);
        for (int round = 0; round < 300; round++)
        {
            string text = string.Concat(Enumerable.Range(0, chance.Next(12)).Select(_ => "ab é▁"[chance.Next(5)]));
            foreach (string decoder in (string[])[Spm, FusedFirst])
            {
                var output = new ByteBuffer();
                IDecoderStage stage = Stage(decoder, output);
                for (int at = 0; at < text.Length;)
                {
                    int length = chance.Next(1, text.Length - at + 1);
                    stage.Write(Encoding.UTF8.GetBytes(text.Substring(at, length)));
                    at += length;
                }

                stage.EndToken();
                stage.End();
                Assert.Equal(Run(decoder, [Encoding.UTF8.GetBytes(text)]), Encoding.UTF8.GetString(output.Span));
            }
        }
    }

    [Theory]
    [InlineData("<0xE4> <0xB8> <0xAD>", "中")]
    [InlineData("<0xE4> <0xB8> x", "\uFFFD\uFFFDx")]
    [InlineData("<0xE4> <0xB8>", "\uFFFD\uFFFD")]
    [InlineData("<0x41> <0xFF> <0x42>", "A\uFFFDB")]
    [InlineData("<0xF0> <0x9F> <0x41>", "\uFFFD\uFFFDA")]
    public void Whole_characters_of_a_damaged_run_of_bytes_survive(string tokens, string expected)
    {
        Assert.Equal(expected, Run("""{"type":"ByteFallback"}""", [.. tokens.Split(' ').Select(Encoding.UTF8.GetBytes)]));
    }

    [Theory]
    [InlineData("xéé", "x")]
    [InlineData("xééé", "xé")]
    [InlineData("é", "")]
    [InlineData("éé", "")]
    [InlineData("éxé", "éx")]
    [InlineData("", "")]
    public void Strip_takes_up_to_so_many_off_the_end(string token, string expected)
    {
        Assert.Equal(expected, Run("""{"type":"Strip","content":"é","start":0,"stop":2}""", [Encoding.UTF8.GetBytes(token)]));
    }

    [Fact]
    public void A_line_feed_token_is_text_at_once()
    {
        var text = new ByteBuffer();
        IDecoderStage stage = Stage(Spm, text);
        stage.Write("<0x0A>"u8);
        stage.EndToken();
        Assert.Equal("\n", Encoding.UTF8.GetString(text.Span));
    }

    private static string Run(string decoder, byte[][] tokens)
    {
        var text = new ByteBuffer();
        IDecoderStage stage = Stage(decoder, text);
        foreach (byte[] token in tokens)
        {
            stage.Write(token);
            stage.EndToken();
        }

        stage.End();
        return Encoding.UTF8.GetString(text.Span);
    }

    private static IDecoderStage Stage(string decoder, ByteBuffer text) =>
        DecoderReader.Read(new JsonPart(JsonSerializer.Deserialize<JsonElement>(decoder), "decoder")).NewStage(text, raw: false);
}
