using System.Reflection;
using System.Text;

namespace InferenceService.Cuda.Modules;

/// <summary>A kernel file and the headers it may include, from the assembly's resources.</summary>
/// <param name="Name">File name.</param>
/// <param name="Text">Its text.</param>
/// <param name="Headers">All headers, by name.</param>
internal sealed record KernelSource(string Name, string Text, IReadOnlyList<(string Name, string Text)> Headers)
{
    private const string Folder = "Kernels/";

    /// <summary>Reads a kernel file.</summary>
    public static KernelSource Read(string name)
    {
        Assembly assembly = typeof(KernelSource).Assembly;
        (string, string)[] headers =
        [
            .. assembly.GetManifestResourceNames().Where(resource => resource.EndsWith(".cuh", StringComparison.Ordinal))
                .Order(StringComparer.Ordinal).Select(resource => (resource[Folder.Length..], Resource(assembly, resource))),
        ];
        return new KernelSource(name, Resource(assembly, Folder + name), headers);
    }

    private static string Resource(Assembly assembly, string resource)
    {
        using Stream stream = assembly.GetManifestResourceStream(resource)
            ?? throw new InvalidOperationException($"The assembly lacks its resource {resource}.");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
