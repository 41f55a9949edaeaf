using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Modules;

/// <summary>Compiles kernel files for one architecture, or takes them from the cache.</summary>
internal sealed unsafe class KernelCompiler
{
    private readonly CubinCache _cache;
    private readonly string _version;
    private readonly string[] _options;
    private readonly bool _binary;

    /// <summary>Asks NVRTC what it can compile for.</summary>
    /// <param name="capability">The device's, 10 · major + minor.</param>
    /// <exception cref="CudaException">NVRTC is not here or too old for the device.</exception>
    public KernelCompiler(int capability, CubinCache cache)
    {
        _ = NativeLibraries.Require(NativeLibraries.Nvrtc);
        _cache = cache;
        int major, minor, count;
        Nvrtc.Check(Nvrtc.Version(&major, &minor), "nvrtcVersion");
        _version = $"{major}.{minor}";
        Nvrtc.Check(Nvrtc.GetArchitectureCount(&count), "nvrtcGetNumSupportedArchs");
        int[] known = new int[count];
        fixed (int* first = known)
            Nvrtc.Check(Nvrtc.GetArchitectures(first), "nvrtcGetSupportedArchs");
        int[] older = [.. known.Where(architecture => architecture <= capability)];
        if (older.Length == 0)
            throw new CudaException($"NVRTC {_version} compiles for capabilities {string.Join(", ", known)}, not for {capability}.");
        // A binary for exactly this device; for one newer than the compiler, code that its driver assembles.
        _binary = older.Contains(capability);
        _options =
        [
            _binary ? $"--gpu-architecture=sm_{capability}" : $"--gpu-architecture=compute_{older.Max()}", "--std=c++17", "-lineinfo", "-default-device",
        ];
    }

    /// <summary>The module's image: a cubin, or PTX for a device newer than the compiler.</summary>
    /// <param name="headDim">The head size that the file is compiled for; 0 = it asks for none.</param>
    /// <exception cref="CudaException">The source does not compile; the message ends with the compiler's words.</exception>
    public byte[] Compile(KernelSource source, int headDim = 0)
    {
        string[] wanted = headDim == 0 ? _options : [.. _options, $"-DKV_HEAD_DIM={headDim}"];
        string key = Key(source, wanted);
        byte[]? image = _cache.Read(key);
        if (image is null)
        {
            image = Run(source, wanted);
            _cache.Write(key, image);
        }

        return image;
    }

    private string Key(KernelSource source, string[] wanted)
    {
        var text = new StringBuilder().Append(_version).Append('\0').AppendJoin(' ', wanted).Append('\0').Append(source.Name).Append('\0').Append(source.Text);
        foreach ((string name, string header) in source.Headers)
            text.Append('\0').Append(name).Append('\0').Append(header);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }

    private byte[] Run(KernelSource source, string[] wanted)
    {
        using var text = new NativeStrings([source.Text, source.Name]);
        using var names = new NativeStrings([.. source.Headers.Select(header => header.Name)]);
        using var headers = new NativeStrings([.. source.Headers.Select(header => header.Text)]);
        using var options = new NativeStrings(wanted);
        nint program;
        Nvrtc.Check(Nvrtc.CreateProgram(&program, text[0], text[1], names.Count, headers.Pointers, names.Pointers), "nvrtcCreateProgram");
        try
        {
            NvrtcStatus status = Nvrtc.CompileProgram(program, options.Count, options.Pointers);
            if (status != NvrtcStatus.Success)
                Nvrtc.Check(status, $"nvrtcCompileProgram ({source.Name})", Log(program));
            return Image(program);
        }
        finally
        {
            _ = Nvrtc.DestroyProgram(&program);
        }
    }

    private byte[] Image(nint program)
    {
        nuint bytes;
        Nvrtc.Check(_binary ? Nvrtc.GetCubinSize(program, &bytes) : Nvrtc.GetPtxSize(program, &bytes), "nvrtcGetCUBINSize");
        byte[] image = new byte[bytes];
        fixed (byte* first = image)
            Nvrtc.Check(_binary ? Nvrtc.GetCubin(program, first) : Nvrtc.GetPtx(program, first), "nvrtcGetCUBIN");
        return image;
    }

    private static string Log(nint program)
    {
        nuint bytes;
        if (Nvrtc.GetLogSize(program, &bytes) != NvrtcStatus.Success || bytes == 0)
            return "There is no log.";
        byte[] log = new byte[bytes];
        fixed (byte* first = log)
            _ = Nvrtc.GetLog(program, first);
        return Encoding.UTF8.GetString(log).TrimEnd('\0', '\n');
    }

    /// <summary>Strings as C wants them, for the length of a call.</summary>
    private sealed class NativeStrings : IDisposable
    {
        private readonly nint[] _strings;

        public NativeStrings(IReadOnlyList<string> strings)
        {
            _strings = GC.AllocateArray<nint>(strings.Count, pinned: true);
            for (int i = 0; i < strings.Count; i++)
                _strings[i] = Marshal.StringToCoTaskMemUTF8(strings[i]);
        }

        public int Count => _strings.Length;

        public byte** Pointers => (byte**)Marshal.UnsafeAddrOfPinnedArrayElement(_strings, 0);

        public byte* this[int index] => (byte*)_strings[index];

        public void Dispose()
        {
            foreach (nint one in _strings)
                Marshal.FreeCoTaskMem(one);
        }
    }
}
