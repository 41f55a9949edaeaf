using System.Runtime.InteropServices;

namespace InferenceService.Compute.Tests;

/// <summary>Elements of stored types, one at a time, by the runtime's own conversions.</summary>
internal static class Half16Bits
{
    /// <summary>Element <paramref name="index"/> of a row.</summary>
    public static float Read(DType type, ReadOnlySpan<byte> row, int index) => type switch
    {
        DType.F32 => MemoryMarshal.Cast<byte, float>(row)[index],
        DType.F16 => (float)MemoryMarshal.Cast<byte, Half>(row)[index],
        _ => BitConverter.UInt32BitsToSingle((uint)MemoryMarshal.Cast<byte, ushort>(row)[index] << 16),
    };

    /// <summary>Rounds to nearest even.</summary>
    public static void Write(DType type, Span<byte> row, int index, float value)
    {
        switch (type)
        {
            case DType.F32:
                MemoryMarshal.Cast<byte, float>(row)[index] = value;
                break;
            case DType.F16:
                MemoryMarshal.Cast<byte, Half>(row)[index] = (Half)value;
                break;
            default:
                uint bits = BitConverter.SingleToUInt32Bits(value);
                MemoryMarshal.Cast<byte, ushort>(row)[index] =
                    (ushort)(float.IsNaN(value) ? (bits >> 16) | 0x40 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
                break;
        }
    }
}
