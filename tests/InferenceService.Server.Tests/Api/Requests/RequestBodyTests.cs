using System.Buffers;
using System.Text;
using InferenceService.Server.Api.Requests;

namespace InferenceService.Server.Tests.Api.Requests;

public sealed class RequestBodyTests
{
    [Theory]
    [InlineData("", 0)]
    [InlineData("{\"a\":tru}", 8)]
    [InlineData("{\"a\":1,\n\n\"b\" NaN}", 13)]
    [InlineData("{\"a\":NaN}", 5)]
    [InlineData("{\"a\":\"\\ud800\"}", 6)]
    [InlineData("{\"a\":\"\\ud83d\\ude00 \\udc00\"}", 19)]
    [InlineData("{\"a\":\"\\ud800\\u0041\"}", 6)]
    [InlineData("{\"\\ud800\":1}", 2)]
    public void What_is_not_json_is_refused_with_its_byte_offset(string text, int offset)
    {
        using RequestBody body = Parse(Encoding.UTF8.GetBytes(text));
        Assert.Equal(("invalid_json", 400), (body.Error!.Code, body.Error.Status));
        Assert.Contains($"byte offset {offset}.", body.Error.Message.Replace(")", "", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public void Invalid_utf8_is_refused()
    {
        using RequestBody body = Parse([.. "{\"a\":\""u8, 0xC3, 0x28, .. "\"}"u8]);
        Assert.Contains("byte offset 6", body.Error!.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"a\":\"\\\\ud800\"}")]
    [InlineData("{\"a\":\"\\ud83d\\ude00\"}")]
    [InlineData("\uFEFF{\"a\":\"x\"}")]
    public void Escapes_and_marks_that_are_right_are_taken(string text)
    {
        using RequestBody body = Parse(Encoding.UTF8.GetBytes(text));
        Assert.Null(body.Error);
        Assert.NotNull(body.Root.GetProperty("a").GetString());
    }

    [Theory]
    [InlineData(128, true)]
    [InlineData(129, false)]
    public void Nesting_is_limited(int depth, bool allowed)
    {
        using RequestBody body = Parse(Encoding.UTF8.GetBytes("{\"a\":" + new string('[', depth - 1) + new string(']', depth - 1) + "}"));
        Assert.Equal(allowed, body.Error is null);
    }

    [Fact]
    public void Objects_of_too_many_fields_are_refused()
    {
        using RequestBody body = Parse(Encoding.UTF8.GetBytes("{" + string.Join(',', Enumerable.Range(0, 513).Select(i => $"\"f{i}\":0")) + "}"));
        Assert.Equal("invalid_value", body.Error!.Code);
    }

    [Theory]
    [InlineData(RequestBody.MaxJsonTokens - 5, true)]
    [InlineData(RequestBody.MaxJsonTokens - 4, false)]
    public void Values_are_counted_before_they_are_parsed(int ids, bool allowed)
    {
        byte[] bytes = new byte["{\"a\":["u8.Length + (2 * ids) + 1];
        "{\"a\":["u8.CopyTo(bytes);
        for (int i = 0; i < ids; i++)
            "1,"u8.CopyTo(bytes.AsSpan(6 + (2 * i)));
        "]}"u8.CopyTo(bytes.AsSpan(bytes.Length - 2));
        using RequestBody body = Parse(bytes);
        Assert.Equal(allowed ? null : "invalid_value", body.Error?.Code);
    }

    private static RequestBody Parse(byte[] bytes)
    {
        using var memory = new BodyMemory(1 << 30);
        var written = new BodyBytes(memory, bytes.Length);
        Assert.True(written.TryAppend(new ReadOnlySequence<byte>(bytes)));
        return RequestBody.Parse(written);
    }
}
