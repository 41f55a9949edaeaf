using System.Buffers.Binary;
using System.Text;
using InferenceService.Compute;

namespace InferenceService.Models.Packed;

/// <summary>A file of packed matrices, mapped: header, matrices on 64-byte boundaries, table.</summary>
/// <remarks>
/// Header, 64 bytes, little-endian: "ISPACKED", version (u32), CRC-32C of the table (u32), where the table begins (u64), its length
/// (u64), key (32). The table ends the file: count (u32), then per matrix name (u16 length, UTF-8), format (u8), rows, columns (i32),
/// offset, length (i64), CRC-32C (u32), parts (u16) and for each two f64, <see cref="WeightError"/>. Every number is checked before use.
/// </remarks>
internal sealed class PackedFile : IDisposable
{
    /// <summary>Of the form of the file.</summary>
    public const uint Version = 1;

    /// <summary>Bytes before the first matrix.</summary>
    public const int HeaderBytes = 64;

    /// <summary>Matrices begin at multiples of this.</summary>
    public const int Alignment = 64;

    private const int KeyAt = 32, MaxTableBytes = 64 << 20;

    private readonly MappedFile _file;
    private readonly Dictionary<string, PackedEntry> _entries;

    private PackedFile(MappedFile file, Dictionary<string, PackedEntry> entries) => (_file, _entries) = (file, entries);

    private static ReadOnlySpan<byte> Magic => "ISPACKED"u8;

    /// <summary>Maps a file and checks header and table.</summary>
    /// <exception cref="InvalidDataException">It is damaged, or not the file of this key.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static PackedFile Open(string path, ReadOnlySpan<byte> key) => Open(MappedFile.Open(path), key);

    /// <summary>Checks a mapped file and takes the mapping over, also when it is refused.</summary>
    /// <exception cref="InvalidDataException">It is damaged, or not the file of this key.</exception>
    internal static PackedFile Open(MappedFile file, ReadOnlySpan<byte> key)
    {
        try
        {
            return new PackedFile(file, ReadTable(file, key));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The matrix of that name; null when there is none.</summary>
    public PackedEntry? Find(string name) => _entries.GetValueOrDefault(name);

    /// <summary>Some of a matrix's bytes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They leave the file.</exception>
    public ReadOnlySpan<byte> Bytes(PackedEntry entry, long from, int count) => _file.Slice(entry.Offset + from, count);

    /// <summary>A matrix will be read soon.</summary>
    public void Expect(PackedEntry entry) => _file.Expect(entry.Offset, entry.Length);

    /// <summary>A matrix has been copied.</summary>
    public void Release(PackedEntry entry) => _file.Release(entry.Offset, entry.Length);

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>The header of a file with such a table.</summary>
    public static byte[] Header(ReadOnlySpan<byte> key, long tableOffset, ReadOnlySpan<byte> table)
    {
        byte[] header = new byte[HeaderBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), Crc32C.Of(table));
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), tableOffset);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), table.Length);
        key.CopyTo(header.AsSpan(KeyAt));
        return header;
    }

    /// <summary>The table of these matrices.</summary>
    public static byte[] Table(IReadOnlyCollection<PackedEntry> entries)
    {
        using var bytes = new MemoryStream();
        using var writer = new BinaryWriter(bytes, Encoding.UTF8);
        writer.Write(entries.Count);
        foreach (PackedEntry entry in entries)
        {
            byte[] name = Encoding.UTF8.GetBytes(entry.Name);
            writer.Write(checked((ushort)name.Length));
            writer.Write(name);
            writer.Write((byte)entry.Format);
            writer.Write(entry.Rows);
            writer.Write(entry.Columns);
            writer.Write(entry.Offset);
            writer.Write(entry.Length);
            writer.Write(entry.Checksum);
            writer.Write(checked((ushort)entry.Errors.Length));
            foreach (WeightError error in entry.Errors)
            {
                writer.Write(error.Lost);
                writer.Write(error.Total);
            }
        }

        writer.Flush();
        return bytes.ToArray();
    }

    private static Dictionary<string, PackedEntry> ReadTable(MappedFile file, ReadOnlySpan<byte> key)
    {
        Require(file.ByteLength >= HeaderBytes, "it is shorter than its header");
        ReadOnlySpan<byte> header = file.Slice(0, HeaderBytes);
        Require(header[..8].SequenceEqual(Magic), "it does not begin as such a file does");
        Require(BinaryPrimitives.ReadUInt32LittleEndian(header[8..]) == Version, "it is of another version");
        Require(header.Slice(KeyAt, key.Length).SequenceEqual(key), "it is of other weights");
        long offset = BinaryPrimitives.ReadInt64LittleEndian(header[16..]), length = BinaryPrimitives.ReadInt64LittleEndian(header[24..]);
        Require(length is >= 4 and <= MaxTableBytes && offset >= HeaderBytes && offset == file.ByteLength - length, "its table does not end it");
        byte[] table = file.Slice(offset, (int)length).ToArray();
        Require(BinaryPrimitives.ReadUInt32LittleEndian(header[12..]) == Crc32C.Of(table), "the checksum of its table is wrong");
        try
        {
            return Parse(table, offset);
        }
        catch (Exception e) when (e is EndOfStreamException or ArgumentException)
        {
            throw new InvalidDataException("its table is cut short", e);
        }
    }

    private static Dictionary<string, PackedEntry> Parse(byte[] table, long end)
    {
        var entries = new Dictionary<string, PackedEntry>(StringComparer.Ordinal);
        using var reader = new BinaryReader(new MemoryStream(table), Encoding.UTF8);
        for (int left = reader.ReadInt32(); left > 0; left--)
        {
            string name = Encoding.UTF8.GetString(reader.ReadBytes(reader.ReadUInt16()));
            var format = (WeightFormat)reader.ReadByte();
            (int rows, int columns) = (reader.ReadInt32(), reader.ReadInt32());
            (long offset, long length) = (reader.ReadInt64(), reader.ReadInt64());
            uint checksum = reader.ReadUInt32();
            var errors = new WeightError[reader.ReadUInt16()];
            for (int i = 0; i < errors.Length; i++)
                errors[i] = new WeightError(reader.ReadDouble(), reader.ReadDouble());
            Require(offset >= HeaderBytes && offset % Alignment == 0 && length >= 0 && length <= end - offset, "a matrix lies outside it");
            Require(entries.TryAdd(name, new PackedEntry(name, format, rows, columns, offset, length, checksum, errors)), "a matrix is there twice");
        }

        return entries;
    }

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
            throw new InvalidDataException(otherwise);
    }
}
