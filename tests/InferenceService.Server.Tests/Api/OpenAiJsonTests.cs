using System.Buffers;
using System.Text;
using System.Text.Json;
using InferenceService.Server.Api;

namespace InferenceService.Server.Tests.Api;

public sealed class OpenAiJsonTests
{
    [Fact]
    public void Any_text_survives_and_only_what_json_demands_is_escaped()
    {
        string all = string.Concat(Enumerable.Range(0, 0x3000).Select(c => (char)c)) + "😀𝄞\uFFFD";
        string json = Write(all);
        Assert.Equal(all, JsonDocument.Parse(json).RootElement.GetProperty("t").GetString());
        Assert.Contains("😀", json, StringComparison.Ordinal);
        Assert.Contains("é", json, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a\nb", "a\\nb")]
    [InlineData("\"\\/", "\\\"\\\\/")]
    [InlineData("\u0001\u001f\u0085\u2028", "\\u0001\\u001f\\u0085\\u2028")]
    [InlineData("<b>&'+", "<b>&'+")]
    public void Escapes_are_these(string text, string expected) => Assert.Equal($"{{\"t\":\"{expected}\"}}", Write(text));

    private static string Write(string text)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, OpenAiJson.WriterOptions))
        {
            json.WriteStartObject();
            json.WriteText(JsonEncodedText.Encode("t"), text);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }
}
