using System.Buffers.Binary;
using System.Text;

namespace InferenceService.Server.Tests.Telemetry.Otlp;

/// <summary>One protobuf message as a list of fields: as much of the wire format as OTLP uses, and an exception where the bytes are not that.</summary>
/// <remarks>Wire format: https://protobuf.dev/programming-guides/encoding/.</remarks>
internal sealed class ProtoMessage
{
    private readonly List<(int Number, ulong Value, ReadOnlyMemory<byte> Bytes)> _fields = [];

    private ProtoMessage()
    {
    }

    public static ProtoMessage Parse(ReadOnlyMemory<byte> bytes)
    {
        var message = new ProtoMessage();
        while (!bytes.IsEmpty)
        {
            ulong key = Varint(ref bytes);
            int number = (int)(key >> 3);
            if (number == 0)
                throw new FormatException("A field has number 0.");
            switch (key & 7)
            {
                case 0:
                    message._fields.Add((number, Varint(ref bytes), default));
                    break;
                case 1:
                    message._fields.Add((number, BinaryPrimitives.ReadUInt64LittleEndian(Take(ref bytes, 8).Span), default));
                    break;
                case 2:
                    message._fields.Add((number, 0, Take(ref bytes, checked((int)Varint(ref bytes)))));
                    break;
                case 5:
                    message._fields.Add((number, BinaryPrimitives.ReadUInt32LittleEndian(Take(ref bytes, 4).Span), default));
                    break;
                default:
                    throw new FormatException($"Field {number} has wire type {key & 7}.");
            }
        }

        return message;
    }

    public bool Has(int number) => _fields.Exists(field => field.Number == number);

    public IEnumerable<ProtoMessage> Messages(int number) => _fields.Where(field => field.Number == number).Select(field => Parse(field.Bytes));

    public ProtoMessage? Message(int number) => Messages(number).LastOrDefault();

    public ulong Number(int number) => _fields.LastOrDefault(field => field.Number == number).Value;

    public double Real(int number) => BitConverter.UInt64BitsToDouble(Number(number));

    public string Text(int number) => Encoding.UTF8.GetString(Bytes(number).Span);

    public string Hex(int number) => Convert.ToHexStringLower(Bytes(number).Span);

    /// <summary>A packed list of doubles.</summary>
    public double[] Reals(int number)
    {
        ReadOnlyMemory<byte> bytes = Bytes(number);
        return [.. Enumerable.Range(0, bytes.Length / 8).Select(i => BinaryPrimitives.ReadDoubleLittleEndian(bytes.Span[(8 * i)..]))];
    }

    /// <summary>A list of <c>KeyValue</c>.</summary>
    public Dictionary<string, object?> Attributes(int number) => Messages(number).ToDictionary(pair => pair.Text(1), pair => Value(pair.Message(2)));

    /// <summary>An <c>AnyValue</c>.</summary>
    public static object? Value(ProtoMessage? any)
    {
        if (any is null || any._fields.Count == 0)
            return null;
        int kind = any._fields[^1].Number;
        return kind switch
        {
            1 => any.Text(1),
            2 => any.Number(2) != 0,
            3 => (long)any.Number(3),
            4 => any.Real(4),
            5 => any.Message(5)!.Messages(1).Select(Value).ToArray(),
            _ => throw new FormatException($"A value of kind {kind}."),
        };
    }

    private ReadOnlyMemory<byte> Bytes(int number) => _fields.LastOrDefault(field => field.Number == number).Bytes;

    private static ReadOnlyMemory<byte> Take(ref ReadOnlyMemory<byte> bytes, int count)
    {
        ReadOnlyMemory<byte> taken = bytes[..count];
        bytes = bytes[count..];
        return taken;
    }

    private static ulong Varint(ref ReadOnlyMemory<byte> bytes)
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte next = Take(ref bytes, 1).Span[0];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
                return value;
        }

        throw new FormatException("A number has more than ten bytes.");
    }
}
