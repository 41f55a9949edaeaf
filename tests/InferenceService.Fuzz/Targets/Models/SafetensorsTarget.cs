using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using InferenceService.Compute;
using InferenceService.Fuzz.Loop;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Fuzz.Targets.Models;

/// <summary>A safetensors file: length, header, tensors. It lies before a page that must not be read, and now and then in a real file.</summary>
internal sealed class SafetensorsTarget : FuzzTarget
{
    private const int RealFileEvery = 512;

    private readonly ScratchFolder _folder = new();
    private readonly GuardedMemory _guarded;
    private int _runs;

    public SafetensorsTarget() => _guarded = new GuardedMemory(MaxBytes * 4);

    public override string Name => "safetensors";

    public override int MaxBytes => 2048;

    public override IReadOnlyList<string> Words =>
        ["F32", "F16", "BF16", "F64", "F4", "F6_E2M3", "BOOL", "U8", "I64", "C64", "F8_E4M3", "dtype", "shape", "data_offsets", "__metadata__", "data_offsets\":[0,8]", "shape\":[2,3]"];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return File("""{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}""", 32);
        yield return File("""{"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},"e":{"dtype":"F32","shape":[0,4],"data_offsets":[6,6]}}""", 6);
        yield return File("""{"x":{"dtype":"F4","shape":[2,2,2],"data_offsets":[0,4]},"y":{"dtype":"I8","shape":[],"data_offsets":[4,5]}}""", 5);
        yield return File("{}", 0);
    }

    public override byte[] Repair(byte[] input, Chance chance)
    {
        if (chance.OneIn(8) || input.Length < 8)
            return input;
        // The header ends at its last bracket; behind it follow as many bytes as the largest offset says.
        int end = input.AsSpan(8).LastIndexOf((byte)'}') + 1;
        ReadOnlySpan<byte> header = input.AsSpan(8, end);
        if (chance.OneIn(2) && Tiled(header) is { } tiled && tiled.Length <= MaxBytes)
        {
            header = tiled;
            end = tiled.Length;
        }

        int data = chance.OneIn(8) ? Math.Max(0, input.Length - 8 - end) : (int)Math.Min(LargestOffset(header), 512);
        byte[] repaired = new byte[8 + end + data];
        BinaryPrimitives.WriteInt64LittleEndian(repaired, end);
        header.CopyTo(repaired.AsSpan(8));
        return repaired;
    }

    public override bool Run(byte[] input)
    {
        nint address = _guarded.Place(input);
        bool read = Read(() => SafetensorsFile.Open("x.safetensors", MappedFile.Over(address, input.Length)));
        if (_runs++ % RealFileEvery == 0)
        {
            string path = _folder.Write("x.safetensors", input);
            Require(Read(() => SafetensorsFile.Open(path)) == read, "the file is judged otherwise than the same bytes in memory");
        }

        return read;
    }

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        _guarded.Dispose();
        base.Dispose(disposing);
    }

    private static bool Read(Func<SafetensorsFile> open)
    {
        try
        {
            using SafetensorsFile file = open();
            bool all = true;
            foreach (string name in file.TensorNames)
            {
                Require(file.TryFind(name, out StoredTensor stored), "a listed tensor is not found");
                all &= TryTouch(file, name, stored);
            }

            return all;
        }
        catch (CheckpointException e)
        {
            CheckMessage(e.Message, 400);
            return false;
        }
    }

    /// <summary>Reads a tensor's first and last byte where they lie, as a kernel would: with no bounds to stop it.</summary>
    private static bool TryTouch(SafetensorsFile file, string name, StoredTensor stored)
    {
        try
        {
            Tensor view = file.View(name, stored);
            Require(view.ByteLength == stored.Bytes, "a view has another length than the file says");
            if (view.ByteLength > 0)
                _ = Marshal.ReadByte(view.Address) + Marshal.ReadByte(view.Address + (nint)view.ByteLength - 1);
            return true;
        }
        catch (CheckpointException e)
        {
            CheckMessage(e.Message, 400);
            return false;
        }
    }

    private static byte[] File(string header, int data)
    {
        byte[] file = new byte[8 + header.Length + data];
        BinaryPrimitives.WriteInt64LittleEndian(file, header.Length);
        Encoding.UTF8.GetBytes(header).CopyTo(file, 8);
        return file;
    }

    /// <summary>The same header with offsets as its types and shapes want them; null when it cannot be had.</summary>
    private static byte[]? Tiled(ReadOnlySpan<byte> header)
    {
        try
        {
            if (JsonNode.Parse(header) is not JsonObject tensors)
                return null;
            long at = 0;
            foreach (JsonObject tensor in tensors.Select(entry => entry.Value).OfType<JsonObject>().Where(tensor => tensor.ContainsKey("shape")))
            {
                int bits = tensor["dtype"]?.GetValue<string>() switch
                {
                    "F32" or "I32" or "U32" => 32,
                    "F16" or "BF16" or "I16" or "U16" => 16,
                    "F64" or "I64" or "U64" or "C64" => 64,
                    "F4" => 4,
                    _ => 8,
                };
                long next = at + ((tensor["shape"] as JsonArray)?.Aggregate(1L, (product, size) => product * (size?.GetValue<int>() ?? 1)) ?? 1) * bits / 8;
                tensor["data_offsets"] = new JsonArray(at, next);
                at = next;
            }

            return Encoding.UTF8.GetBytes(tensors.ToJsonString());
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or ArgumentException)
        {
            return null; // a change has made something else of it
        }
    }

    private static long LargestOffset(ReadOnlySpan<byte> header)
    {
        long largest = 0;
        bool offsets = false;
        try
        {
            var reader = new Utf8JsonReader(header);
            while (reader.Read())
            {
                if (reader.TokenType == JsonTokenType.PropertyName)
                    offsets = reader.ValueTextEquals("data_offsets"u8);
                else if (offsets && reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long number))
                    largest = Math.Max(largest, number);
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // It stays broken; what was found before the break will do.
        }

        return largest;
    }
}
