using System.IO.MemoryMappedFiles;

namespace InferenceService.Fuzz.Loop;

/// <summary>The input being read, in a mapped file: what is left of it when the process is killed under it.</summary>
internal sealed class InputRecord : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    /// <param name="path">Four bytes of length, then the input.</param>
    public InputRecord(string path, int maxBytes)
    {
        _file = MemoryMappedFile.CreateFromFile(path, FileMode.Create, null, sizeof(int) + maxBytes);
        _view = _file.CreateViewAccessor();
    }

    /// <summary>Keeps an input.</summary>
    public void Set(byte[] input)
    {
        _view.Write(0, input.Length);
        _view.WriteArray(sizeof(int), input, 0, input.Length);
    }

    /// <summary>The input in such a file.</summary>
    public static byte[] Read(string path)
    {
        byte[] all = File.ReadAllBytes(path);
        return all[sizeof(int)..(sizeof(int) + BitConverter.ToInt32(all))];
    }

    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
    }
}
