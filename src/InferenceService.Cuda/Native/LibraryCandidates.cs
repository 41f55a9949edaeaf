namespace InferenceService.Cuda.Native;

/// <summary>Where a native library may lie, in the order in which places are tried.</summary>
internal static class LibraryCandidates
{
    /// <summary>Major versions of CUDA whose libraries can be used, newest first.</summary>
    private static readonly int[] Majors = [13, 12];

    /// <summary>The oldest of them.</summary>
    public const int OldestMajor = 12;

    /// <summary>File names of a logical library, newest major version first.</summary>
    /// <param name="library">Logical name.</param>
    /// <param name="newest">The major version of the driver: libraries of a newer one do not work with it.</param>
    public static IReadOnlyList<string> Names(string library, int newest = int.MaxValue) => library switch
    {
        NativeLibraries.Cuda => ["libcuda.so.1"],
        NativeLibraries.Nvrtc => [.. Majors.Where(major => major <= newest).Select(major => $"libnvrtc.so.{major}")],
        NativeLibraries.CublasLt => [.. Majors.Where(major => major <= newest).Select(major => $"libcublasLt.so.{major}")],
        _ => [],
    };

    /// <summary>Full paths, and bare names for the loader's own search, first to last.</summary>
    /// <param name="library">Logical name.</param>
    /// <param name="folders">The configured folders.</param>
    /// <param name="environment">Reads an environment variable.</param>
    /// <param name="sitePackages">Python's folders of packages, the parents of "nvidia".</param>
    /// <param name="newest">As in <see cref="Names"/>.</param>
    public static IEnumerable<string> Of(
        string library, IReadOnlyList<string> folders, Func<string, string?> environment, IReadOnlyList<string> sitePackages, int newest = int.MaxValue)
    {
        IReadOnlyList<string> names = Names(library, newest);
        foreach (string path in In(names, [.. folders, AppContext.BaseDirectory]))
            yield return path;
        foreach (string name in names)
            yield return name;
        if (library == NativeLibraries.Cuda)
            yield break; // the driver's library comes with the driver alone; a toolkit's folder holds but a stub
        string?[] homes = [environment("CUDA_HOME"), environment("CUDA_PATH"), "/usr/local/cuda"];
        foreach (string path in In(names, homes.OfType<string>().Where(home => home.Length > 0).SelectMany(home => (string[])[Path.Combine(home, "lib64"), Path.Combine(home, "lib")])))
            yield return path;
        string wheel = library == NativeLibraries.Nvrtc ? "cuda_nvrtc" : "cublas";
        foreach (string path in In(names, sitePackages.SelectMany(site => (string[])[Path.Combine(site, "nvidia", "cu13", "lib"), Path.Combine(site, "nvidia", wheel, "lib")])))
            yield return path;
        if (environment("CONDA_PREFIX") is { Length: > 0 } conda)
        {
            foreach (string path in In(names, [Path.Combine(conda, "lib")]))
                yield return path;
        }
    }

    /// <summary>Python's package folders on this machine: those of VIRTUAL_ENV, of the user, and of the system.</summary>
    public static IReadOnlyList<string> SitePackages(Func<string, string?> environment)
    {
        var found = new List<string>();
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        foreach (string? root in (string?[])[environment("VIRTUAL_ENV"), Path.Combine(home, ".local"), "/usr/local", "/usr"])
        {
            if (string.IsNullOrEmpty(root) || !Directory.Exists(Path.Combine(root, "lib")))
                continue;
            foreach (string python in Directory.EnumerateDirectories(Path.Combine(root, "lib"), "python3*").Order(StringComparer.Ordinal))
                found.AddRange([Path.Combine(python, "site-packages"), Path.Combine(python, "dist-packages")]);
        }

        return found;
    }

    private static IEnumerable<string> In(IReadOnlyList<string> names, IEnumerable<string> folders) =>
        folders.SelectMany(folder => names.Select(name => Path.Combine(folder, name)));
}
