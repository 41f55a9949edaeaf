using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace InferenceService.Cuda.Native;

/// <summary>Finds the driver, NVRTC and cuBLASLt, of CUDA 13 or 12, once a process.</summary>
/// <remarks>
/// The libraries are never unloaded: contexts and handles die with them. The resolver is set when the module is loaded, before any method
/// that calls into it can have been compiled.
/// </remarks>
internal static class NativeLibraries
{
    /// <summary>Logical names, as the imports use them.</summary>
    public const string Cuda = "cuda", Nvrtc = "nvrtc", CublasLt = "cublasLt";

    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, (nint Handle, string Path)> Loaded = [];
    private static IReadOnlyList<string> _folders = [];
    private static Action<string>? _log;
    private static int _newestMajor = int.MaxValue;

    /// <summary>Folders to search first, and where to tell what was tried; what is loaded already stays.</summary>
    public static void Configure(IReadOnlyList<string> folders, Action<string>? log)
    {
        lock (Gate)
            (_folders, _log) = (folders, log);
    }

    /// <summary>The driver's major version of CUDA: no library of a newer one is taken from now on.</summary>
    public static void LimitTo(int major)
    {
        lock (Gate)
            _newestMajor = major;
    }

    /// <summary>Loads a library, or says where it was looked for.</summary>
    /// <exception cref="CudaException">It is nowhere.</exception>
    public static string Require(string library)
    {
        if (TryLoad(library, out nint _, out string? path, out List<string> tried))
            return path;
        string advice = library == Cuda
            ? "Install NVIDIA's driver (it is never part of an image: run containers with --gpus)"
            : "Install the CUDA runtime libraries, or name their folder in Cuda:LibraryPath";
        throw new CudaException($"{LibraryCandidates.Names(library, _newestMajor)[0]} was not found. {advice}. Tried: {string.Join(", ", tried)}.");
    }

    [ModuleInitializer]
    [SuppressMessage("Usage", "CA2255", Justification = "An import may be bound as soon as its caller is compiled, which nothing else precedes.")]
    internal static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, Resolve);

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? paths) =>
        LibraryCandidates.Names(name).Count == 0 ? 0 : TryLoad(name, out nint handle, out _, out _) ? handle : 0;

    private static bool TryLoad(string library, out nint handle, [NotNullWhen(true)] out string? path, out List<string> tried)
    {
        tried = [];
        lock (Gate)
        {
            if (Loaded.TryGetValue(library, out (nint Handle, string Path) loaded))
            {
                (handle, path) = loaded;
                return true;
            }

            foreach (string candidate in LibraryCandidates.Of(
                library, _folders, Environment.GetEnvironmentVariable, LibraryCandidates.SitePackages(Environment.GetEnvironmentVariable), _newestMajor))
            {
                bool rooted = Path.IsPathRooted(candidate);
                if (rooted && !File.Exists(candidate))
                {
                    tried.Add(candidate);
                    continue;
                }

                if (rooted && library == Nvrtc)
                    LoadBuiltins(Path.GetDirectoryName(candidate)!);
                if (NativeLibrary.TryLoad(candidate, out handle))
                {
                    _log?.Invoke($"{library}: {candidate}");
                    Loaded[library] = (handle, candidate);
                    path = candidate;
                    return true;
                }

                tried.Add(candidate);
            }
        }

        (handle, path) = (0, null);
        return false;
    }

    /// <summary>NVRTC opens its builtins by bare name: already loaded, they are found wherever they lie.</summary>
    private static void LoadBuiltins(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder, "libnvrtc-builtins.so.*").Order(StringComparer.Ordinal))
            _ = NativeLibrary.TryLoad(file, out _);
    }
}
