using System.Buffers.Binary;
using InferenceService.Compute;

namespace InferenceService.Models.Checkpoints;

/// <summary>One safetensors file, mapped into memory: the header is read and checked at once, weights are read where they lie.</summary>
internal sealed class SafetensorsFile : IDisposable
{
    private const long MaxHeaderBytes = 100_000_000; // the limit of the reference implementation

    private readonly MappedFile _memory;
    private readonly Dictionary<string, StoredTensor> _tensors;

    private SafetensorsFile(string name, MappedFile memory, Dictionary<string, StoredTensor> tensors) =>
        (Name, _memory, _tensors) = (name, memory, tensors);

    /// <summary>Name of the file, without its folder.</summary>
    public string Name { get; }

    /// <summary>Names of all tensors.</summary>
    public IReadOnlyCollection<string> TensorNames => _tensors.Keys;

    /// <summary>Maps a file and checks its header.</summary>
    /// <exception cref="CheckpointException">It cannot be read, or is damaged; one line that names the file and the fact.</exception>
    public static SafetensorsFile Open(string path)
    {
        string name = Path.GetFileName(path);
        return Open(name, Map(path, name));
    }

    /// <summary>Checks the header of a mapped file and takes the mapping over, also when it is refused.</summary>
    /// <exception cref="CheckpointException">It is damaged.</exception>
    internal static SafetensorsFile Open(string name, MappedFile memory)
    {
        try
        {
            return new SafetensorsFile(name, memory, SafetensorsHeader.Parse(Header(memory, name), memory.ByteLength, name));
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>What the header says about a tensor.</summary>
    public bool TryFind(string tensor, out StoredTensor stored) => _tensors.TryGetValue(tensor, out stored);

    /// <summary>The tensor in mapped memory: [out, in], or [1, n] for one dimension.</summary>
    /// <exception cref="CheckpointException">Its type or shape is not one that models compute with.</exception>
    public Tensor View(string tensor, StoredTensor stored)
    {
        DType type = stored.Type switch
        {
            "F32" => DType.F32,
            "F16" => DType.F16,
            "BF16" => DType.BF16,
            _ => throw Error(tensor, $"has dtype {stored.Type}; supported are F32, F16 and BF16"),
        };
        (long rows, long columns) = stored.Shape switch
        {
            [long only] => (1, only),
            [long first, long second] => (first, second),
            _ => throw Error(tensor, $"has shape {stored.ShapeText}; supported are one and two dimensions"),
        };
        if (rows > int.MaxValue || columns > int.MaxValue)
            throw Error(tensor, $"has shape {stored.ShapeText}; dimensions reach up to {int.MaxValue}");
        return Tensor.Dense(_memory, stored.Offset, type, (int)rows, (int)columns);
    }

    /// <summary>An error about one tensor of this file.</summary>
    public CheckpointException Error(string tensor, string fact) => new($"{Name}: tensor {Quote.Value(tensor)} {fact}.");

    /// <summary>Ends the mapping; tensors viewed before must not be used any more.</summary>
    public void Dispose() => _memory.Dispose();

    private static MappedFile Map(string path, string name)
    {
        try
        {
            return MappedFile.Open(path);
        }
        catch (InvalidDataException e)
        {
            throw new CheckpointException($"{name}: the file is empty.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"{name}: the file cannot be read ({e.GetType().Name}).", e);
        }
    }

    private static ReadOnlySpan<byte> Header(MappedFile memory, string name)
    {
        if (memory.ByteLength < sizeof(ulong))
            throw new CheckpointException($"{name}: the file has {memory.ByteLength} bytes, too few for a header.");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(memory.Slice(0, sizeof(ulong)));
        if (length > MaxHeaderBytes)
            throw new CheckpointException($"{name}: the header claims {length} bytes; allowed: up to {MaxHeaderBytes}.");
        if ((long)length > memory.ByteLength - sizeof(ulong))
            throw new CheckpointException($"{name}: the header claims {length} bytes, but the file has only {memory.ByteLength} (is it truncated?).");
        return memory.Slice(sizeof(ulong), (int)length);
    }
}
