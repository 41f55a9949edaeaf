using System.Numerics;
using System.Runtime.InteropServices;

namespace InferenceService.Models.Packed;

/// <summary>CRC-32C (Castagnoli, as in RFC 3720), eight bytes an instruction where the processor has one.</summary>
internal static class Crc32C
{
    /// <summary>Value before the first byte.</summary>
    public const uint Start = uint.MaxValue;

    /// <summary>Goes on with more bytes; all pieces but the last have a multiple of eight.</summary>
    public static uint Append(uint value, ReadOnlySpan<byte> bytes)
    {
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(bytes))
            value = BitOperations.Crc32C(value, word);
        foreach (byte last in bytes[(bytes.Length & ~7)..])
            value = BitOperations.Crc32C(value, last);
        return value;
    }

    /// <summary>Of one piece.</summary>
    public static uint Of(ReadOnlySpan<byte> bytes) => ~Append(Start, bytes);
}
