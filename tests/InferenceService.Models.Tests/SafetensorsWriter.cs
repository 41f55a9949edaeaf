using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace InferenceService.Models.Tests;

/// <summary>Writes safetensors files for tests.</summary>
internal static class SafetensorsWriter
{
    /// <summary>A whole file of tensors with their dtype as the format spells it.</summary>
    public static byte[] File(IEnumerable<(string Name, string Type, int[] Shape, byte[] Data)> tensors)
    {
        var header = new JsonObject { ["__metadata__"] = new JsonObject { ["format"] = "pt" } };
        var data = new MemoryStream();
        foreach ((string name, string type, int[] shape, byte[] bytes) in tensors)
        {
            long begin = data.Length;
            data.Write(bytes);
            header[name] = JsonSerializer.SerializeToNode(new { dtype = type, shape, data_offsets = new[] { begin, data.Length } });
        }

        return File(header.ToJsonString(), data.ToArray());
    }

    /// <summary>A whole file from any header text and data.</summary>
    public static byte[] File(string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        var length = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)json.Length);
        return [.. length, .. json, .. data];
    }

    /// <summary>f32 elements as bytes.</summary>
    public static byte[] Bytes(IEnumerable<float> values) => [.. values.SelectMany(BitConverter.GetBytes)];
}
