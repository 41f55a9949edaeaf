using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;

namespace InferenceService.Server.Api;

/// <summary>JSON as clients like it: characters outside ASCII stay as they are, names are encoded once.</summary>
internal static class OpenAiJson
{
    private static readonly SearchValues<char> Escaped = SearchValues.Create([.. Enumerable.Range(0, 32).Select(c => (char)c), '"', '\\', '\u0085', '\u2028', '\u2029']);

    /// <summary>Options of every writer. Documents are complete by construction, so writers do not check them again.</summary>
    public static JsonWriterOptions WriterOptions { get; } = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    /// <summary>A text that is written many times.</summary>
    public static JsonEncodedText Encode(string text) => JsonEncodedText.Encode(text, WriterOptions.Encoder);

    /// <summary>Writes a string property whose text may hold anything.</summary>
    /// <remarks>
    /// The framework's relaxed encoder still turns emoji and other rare characters into escapes; here only what JSON demands is
    /// escaped, and the line separators that careless readers of event streams split at.
    /// </remarks>
    public static void WriteText(this Utf8JsonWriter json, JsonEncodedText name, ReadOnlySpan<char> text)
    {
        json.WritePropertyName(name);
        json.WriteTextValue(text);
    }

    /// <summary>Writes a string value whose text may hold anything.</summary>
    public static void WriteTextValue(this Utf8JsonWriter json, ReadOnlySpan<char> text)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent((text.Length * 6) + 2);
        bytes[0] = (byte)'"';
        int length = 1;
        while (text.Length > 0)
        {
            int plain = text.IndexOfAny(Escaped);
            ReadOnlySpan<char> run = plain < 0 ? text : text[..plain];
            Utf8.FromUtf16(run, bytes.AsSpan(length), out _, out int written);
            length += written;
            text = text[run.Length..];
            if (plain >= 0)
            {
                length += Escape(text[0], bytes.AsSpan(length));
                text = text[1..];
            }
        }

        bytes[length++] = (byte)'"';
        json.WriteRawValue(bytes.AsSpan(0, length), skipInputValidation: true);
        ArrayPool<byte>.Shared.Return(bytes);
    }

    private static int Escape(char c, Span<byte> output)
    {
        output[0] = (byte)'\\';
        byte brief = c switch
        {
            '"' or '\\' => (byte)c,
            '\n' => (byte)'n',
            '\r' => (byte)'r',
            '\t' => (byte)'t',
            '\b' => (byte)'b',
            '\f' => (byte)'f',
            _ => 0,
        };
        if (brief != 0)
        {
            output[1] = brief;
            return 2;
        }

        output[1] = (byte)'u';
        for (int digit = 0; digit < 4; digit++)
            output[2 + digit] = "0123456789abcdef"u8[(c >> (12 - (4 * digit))) & 15];
        return 6;
    }
}
