using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using InferenceService.Fuzz.Loop;

namespace InferenceService.Fuzz.Mutation;

/// <summary>Changes that know nothing of the format.</summary>
internal static class ByteEdits
{
    /// <summary>One change somewhere between two places.</summary>
    public static void Apply(List<byte> bytes, int from, int to, ReadOnlySpan<byte> other, IReadOnlyList<byte[]> words, Chance chance)
    {
        int length = to - from;
        int at = from + chance.Below(length + 1);
        switch (chance.Below(15))
        {
            case 0 when length > 0:
                bytes[from + chance.Below(length)] ^= (byte)(1 << chance.Below(8));
                break;
            case 1 when length > 0:
                bytes[from + chance.Below(length)] = (byte)chance.Below(256);
                break;
            case 2:
                bytes.InsertRange(at, Some(chance, chance.Small(8)));
                break;
            case 3 or 4 when length > 0:
                int start = from + chance.Below(length);
                bytes.RemoveRange(start, Math.Min(chance.Small(length), to - start));
                break;
            case 5 when length > 0:
                Repeat(bytes, from, to, chance);
                break;
            case 6 when other.Length > 0:
                int first = chance.Below(other.Length);
                bytes.InsertRange(at, other.Slice(first, Math.Min(chance.Small(64), other.Length - first)));
                break;
            case 7 when other.Length > 0:
                int cut = chance.Below(other.Length);
                bytes.RemoveRange(at, to - at);
                bytes.InsertRange(at, other[cut..]);
                break;
            case 8 when length > 0:
                Overwrite(bytes, from + chance.Below(length), to, chance);
                break;
            case 9:
                ReplaceNumber(bytes, at, to, chance);
                break;
            case 10:
                bytes.InsertRange(at, chance.Of<byte[]>(Interesting.BadUtf8));
                break;
            case 11:
                bytes.InsertRange(at, Encoding.UTF8.GetBytes(chance.Of<string>(Interesting.Text)));
                break;
            case 12:
                bytes.InsertRange(at, Encoding.UTF8.GetBytes(chance.Of<string>(Interesting.BrokenJson)));
                break;
            default:
                if (words.Count > 0)
                    bytes.InsertRange(at, words[chance.Below(words.Count)]);
                break;
        }
    }

    private static byte[] Some(Chance chance, int count)
    {
        byte[] bytes = new byte[count];
        for (int i = 0; i < count; i++)
            bytes[i] = (byte)chance.Below(256);
        return bytes;
    }

    /// <summary>A few bytes many times: nesting, long names, long numbers.</summary>
    private static void Repeat(List<byte> bytes, int from, int to, Chance chance)
    {
        int start = from + chance.Below(to - from);
        byte[] piece = [.. bytes.GetRange(start, Math.Min(chance.Small(16), to - start))];
        int times = chance.Small(256);
        byte[] all = new byte[piece.Length * times];
        for (int i = 0; i < all.Length; i++)
            all[i] = piece[i % piece.Length];
        bytes.InsertRange(start, all);
    }

    /// <summary>A binary number, little-endian.</summary>
    private static void Overwrite(List<byte> bytes, int at, int to, Chance chance)
    {
        Span<byte> number = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(number, chance.Of<long>(Interesting.Numbers) + chance.Below(3) - 1);
        int size = Math.Min(1 << chance.Below(4), to - at);
        for (int i = 0; i < size; i++)
            bytes[at + i] = number[i];
    }

    /// <summary>The next run of digits becomes another number.</summary>
    private static void ReplaceNumber(List<byte> bytes, int at, int to, Chance chance)
    {
        int start = at;
        while (start < to && !char.IsAsciiDigit((char)bytes[start]))
            start++;
        int end = start;
        while (end < to && char.IsAsciiDigit((char)bytes[end]))
            end++;
        if (start == end)
            return;
        bytes.RemoveRange(start, end - start);
        bytes.InsertRange(start, Encoding.ASCII.GetBytes(chance.Of<long>(Interesting.Numbers).ToString(CultureInfo.InvariantCulture)));
    }
}
