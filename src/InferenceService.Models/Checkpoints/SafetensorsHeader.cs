using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Text.Json;

namespace InferenceService.Models.Checkpoints;

/// <summary>Reads the JSON header of a safetensors file and holds it against the length of the file.</summary>
/// <remarks>
/// Format: github.com/huggingface/safetensors, section "Format" of its README: every entry has dtype, shape and data_offsets (from
/// the end of the header); tensors fill the rest of the file without holes or overlaps. Memory used is bounded by the header's size.
/// </remarks>
internal ref struct SafetensorsHeader
{
    private const int MaxDimensions = 8;

    /// <summary>Bits of one element of every type of the format, so that offsets of tensors nobody asks for are checked as well.</summary>
    private static readonly FrozenDictionary<string, int> Bits = new Dictionary<string, int>
    {
        ["F4"] = 4,
        ["F6_E2M3"] = 6,
        ["F6_E3M2"] = 6,
        ["BOOL"] = 8,
        ["U8"] = 8,
        ["I8"] = 8,
        ["F8_E5M2"] = 8,
        ["F8_E4M3"] = 8,
        ["F8_E8M0"] = 8,
        ["I16"] = 16,
        ["U16"] = 16,
        ["F16"] = 16,
        ["BF16"] = 16,
        ["I32"] = 32,
        ["U32"] = 32,
        ["F32"] = 32,
        ["I64"] = 64,
        ["U64"] = 64,
        ["F64"] = 64,
        ["C64"] = 64,
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private readonly string _file;
    private readonly long _dataStart;
    private readonly long _dataLength;
    private readonly Dictionary<string, StoredTensor> _tensors;
    private Utf8JsonReader _reader;

    private SafetensorsHeader(ReadOnlySpan<byte> header, long fileLength, string file)
    {
        _file = file;
        _dataStart = sizeof(ulong) + header.Length;
        _dataLength = fileLength - _dataStart;
        _tensors = new Dictionary<string, StoredTensor>(StringComparer.Ordinal);
        _reader = new Utf8JsonReader(header);
    }

    /// <summary>The tensors of a file.</summary>
    /// <param name="header">The JSON, without the eight bytes of its length.</param>
    /// <param name="fileLength">Bytes of the whole file.</param>
    /// <param name="file">Name for messages.</param>
    /// <exception cref="CheckpointException">The header is damaged, or does not describe a file of this length.</exception>
    public static Dictionary<string, StoredTensor> Parse(ReadOnlySpan<byte> header, long fileLength, string file)
    {
        var parser = new SafetensorsHeader(header, fileLength, file);
        try
        {
            parser.ReadAll();
        }
        catch (JsonException e)
        {
            throw new CheckpointException($"{file}: the header is not valid JSON at byte {parser._reader.BytesConsumed}.", e);
        }

        parser.CheckThatTensorsTile();
        return parser._tensors;
    }

    private void ReadAll()
    {
        Expect(JsonTokenType.StartObject, "the header", "an object");
        while (Next() == JsonTokenType.PropertyName)
        {
            string name = Text("a tensor name");
            _ = Next();
            if (name == "__metadata__")
                _reader.Skip();
            else if (!_tensors.TryAdd(name, ReadTensor(name)))
                throw Error(name, "is listed twice");
        }

        _ = _reader.Read(); // throws when anything but white space follows
    }

    private StoredTensor ReadTensor(string name)
    {
        if (_reader.TokenType != JsonTokenType.StartObject)
            throw Error(name, "is not described by an object");
        string? type = null;
        ImmutableArray<long> shape = default, offsets = default;
        while (Next() == JsonTokenType.PropertyName)
        {
            string field = Text("a field name");
            _ = Next();
            switch (field)
            {
                case "dtype" when _reader.TokenType == JsonTokenType.String:
                    type = Text("dtype");
                    break;
                case "shape":
                    shape = Numbers(name, field);
                    break;
                case "data_offsets":
                    offsets = Numbers(name, field);
                    break;
                default:
                    throw Error(name, $"has a field {Quote.Value(field)} that the format does not know in this form");
            }
        }

        if (type is null || shape.IsDefault || offsets.IsDefault || offsets.Length != 2)
            throw Error(name, "lacks dtype, shape or two data_offsets");
        return Checked(name, type, shape, offsets[0], offsets[1]);
    }

    private readonly StoredTensor Checked(string name, string type, ImmutableArray<long> shape, long begin, long end)
    {
        if (!Bits.TryGetValue(type, out int bits))
            throw Error(name, $"has unknown dtype {Quote.Value(type)}");
        if (begin > end || end > _dataLength)
            throw Error(name, $"lies at bytes {begin} to {end}, outside the {_dataLength} bytes of data (is the file truncated?)");
        long most = long.MaxValue / 64, elements = 1;
        foreach (long size in shape)
        {
            if (size != 0 && elements > most / size)
                throw Error(name, "has more elements than any file holds");
            elements *= size;
        }

        if (elements * bits % 8 != 0 || elements * bits / 8 != end - begin)
            throw Error(name, $"takes {end - begin} bytes, but {type} of its shape takes {elements * bits / 8}");
        return new StoredTensor(type, shape, _dataStart + begin, end - begin);
    }

    private readonly void CheckThatTensorsTile()
    {
        long expected = _dataStart;
        foreach ((string name, StoredTensor tensor) in _tensors.OrderBy(entry => entry.Value.Offset).ThenBy(entry => entry.Value.Bytes))
        {
            if (tensor.Offset != expected)
                throw Error(name, tensor.Offset < expected ? "overlaps the tensor before it" : "leaves a hole before it");
            expected += tensor.Bytes;
        }

        long surplus = _dataStart + _dataLength - expected;
        if (surplus != 0)
            throw new CheckpointException($"{_file}: {surplus} bytes follow the last tensor.");
    }

    private ImmutableArray<long> Numbers(string name, string field)
    {
        if (_reader.TokenType != JsonTokenType.StartArray)
            throw Error(name, $"has a {field} that is not a list");
        var numbers = ImmutableArray.CreateBuilder<long>();
        while (Next() != JsonTokenType.EndArray)
        {
            if (_reader.TokenType != JsonTokenType.Number || !_reader.TryGetInt64(out long number) || number < 0)
                throw Error(name, $"has a {field} with something else than whole numbers from 0 to {long.MaxValue}");
            if (numbers.Count == MaxDimensions)
                throw Error(name, $"has a {field} of more than {MaxDimensions} numbers");
            numbers.Add(number);
        }

        return numbers.ToImmutable();
    }

    private JsonTokenType Next() =>
        _reader.Read() ? _reader.TokenType : throw new CheckpointException($"{_file}: the header ends in the middle.");

    private void Expect(JsonTokenType type, string what, string form)
    {
        if (Next() != type)
            throw new CheckpointException($"{_file}: {what} is not {form}.");
    }

    /// <summary>The string under the reader; bytes that are no UTF-8 make the reader throw.</summary>
    private readonly string Text(string what)
    {
        try
        {
            return _reader.GetString() ?? "";
        }
        catch (InvalidOperationException e)
        {
            throw new CheckpointException($"{_file}: {what} in the header is not valid text.", e);
        }
    }

    private readonly CheckpointException Error(string tensor, string fact) => new($"{_file}: tensor {Quote.Value(tensor)} {fact}.");
}
