using System.Text;
using InferenceService.Fuzz.Loop;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>Reads server-sent events and forgives nothing: only what this server means to send may be there.</summary>
/// <remarks>
/// Format: html.spec.whatwg.org, "Server-sent events". Stricter than that: no carriage return, no byte order mark before it, every event one
/// <c>data:</c> line between blank lines, nothing behind <c>[DONE]</c>.
/// </remarks>
internal static class EventStreamReader
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The data of all events before <c>[DONE]</c>.</summary>
    /// <exception cref="OracleException">A byte is not where it belongs.</exception>
    public static List<string> Read(ReadOnlySpan<byte> stream)
    {
        string text = Decode(stream);
        if (text.AsSpan().ContainsAny('\r', '\0') || text[0] == '\uFEFF' || !text.EndsWith("\n\n", StringComparison.Ordinal))
            throw new OracleException("a stream with carriage returns, zero bytes or a byte order mark, or without its last blank line");
        var events = new List<string>();
        bool done = false;
        foreach (string block in text[..^2].Split("\n\n"))
        {
            if (done)
                throw new OracleException("something follows [DONE]");
            if (block == ": ping")
                continue;
            if (!block.StartsWith("data: ", StringComparison.Ordinal) || block.Contains('\n', StringComparison.Ordinal))
                throw new OracleException($"not one data line: {block[..Math.Min(100, block.Length)]}");
            done = block == "data: [DONE]";
            if (!done)
                events.Add(block["data: ".Length..]);
        }

        return done ? events : throw new OracleException("a stream without [DONE]");
    }

    private static string Decode(ReadOnlySpan<byte> stream)
    {
        try
        {
            return Strict.GetString(stream);
        }
        catch (DecoderFallbackException e)
        {
            throw new OracleException($"a stream that is not UTF-8: {e.Message}");
        }
    }
}
