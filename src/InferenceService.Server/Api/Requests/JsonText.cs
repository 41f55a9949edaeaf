using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace InferenceService.Server.Api.Requests;

/// <summary>Where in a JSON text something is wrong, in bytes.</summary>
internal static class JsonText
{
    /// <summary>Offset of the error, from line and position as the parser reports them.</summary>
    public static long Offset(ReadOnlySpan<byte> json, JsonException error)
    {
        int start = 0;
        for (long line = error.LineNumber ?? 0; line > 0; line--)
        {
            int end = json[start..].IndexOf((byte)'\n');
            if (end < 0)
                break;
            start += end + 1;
        }

        return start + (error.BytePositionInLine ?? 0);
    }

    /// <summary>Offset of the first byte that is not part of a UTF-8 character; the length when all are.</summary>
    public static int FirstInvalidUtf8(ReadOnlySpan<byte> json)
    {
        int offset = 0;
        while (offset < json.Length && Rune.DecodeFromUtf8(json[offset..], out _, out int bytes) == OperationStatus.Done)
            offset += bytes;
        return offset;
    }

    /// <summary>Offset of the first <c>\uD800</c>–<c>\uDFFF</c> escape without its other half; −1 when there is none.</summary>
    /// <param name="json">Valid JSON, so that a backslash is always the start of a complete escape.</param>
    public static int FirstLoneSurrogate(ReadOnlySpan<byte> json)
    {
        int offset = 0;
        while (true)
        {
            int backslash = json[offset..].IndexOf((byte)'\\');
            if (backslash < 0)
                return -1;
            offset += backslash;
            if (json[offset + 1] != (byte)'u')
            {
                offset += 2;
                continue;
            }

            char unit = Unit(json[offset..]);
            if (char.IsLowSurrogate(unit) || (char.IsHighSurrogate(unit) && !char.IsLowSurrogate(Unit(json[(offset + 6)..]))))
                return offset;
            offset += char.IsHighSurrogate(unit) ? 12 : 6;
        }
    }

    private static char Unit(ReadOnlySpan<byte> escape) =>
        escape.Length >= 6 && escape[0] == (byte)'\\' && escape[1] == (byte)'u'
        && ushort.TryParse(escape[2..6], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort unit)
            ? (char)unit
            : '\0';
}
