using System.Buffers;
using System.Text;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>How far a run of bytes is whole, valid UTF-8.</summary>
internal static class Utf8Prefix
{
    /// <summary>The length of the longest beginning that consists of whole characters.</summary>
    public static int Length(ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        while (at < bytes.Length)
        {
            if (bytes[at] < 0x80)
                at++;
            else if (Rune.DecodeFromUtf8(bytes[at..], out _, out int length) == OperationStatus.Done)
                at += length;
            else
                break;
        }

        return at;
    }
}
