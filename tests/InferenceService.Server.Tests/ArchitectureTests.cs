using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace InferenceService.Server.Tests;

/// <summary>The house rules that a compiler cannot keep: who may reference whom, and what may stand where.</summary>
public sealed partial class ArchitectureTests
{
    /// <summary>Each project exists to forbid a reference; docs/architecture.md says why.</summary>
    private static readonly Dictionary<string, string[]> MayReference = new()
    {
        ["Compute"] = [],
        ["Cuda"] = ["Compute"],
        ["Models"] = ["Compute"],
        ["Text"] = [],
        ["Engine"] = ["Models", "Compute"],
        ["Server"] = ["Engine", "Text", "Models", "Compute", "Cuda"],
    };

    /// <summary>The repository.</summary>
    internal static readonly string Root = FindRoot();

    [Fact]
    public void Projects_reference_only_what_the_table_allows()
    {
        foreach (string file in Directory.GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories))
        {
            string project = ShortName(file);
            Assert.True(MayReference.ContainsKey(project), $"{project} is not in the table of projects.");
            string[] references =
            [
                .. XDocument.Load(file).Descendants("ProjectReference")
                    .Select(reference => ShortName(reference.Attribute("Include")!.Value)),
            ];
            Assert.Empty(references.Except(MayReference[project]).Select(reference => $"{project} -> {reference}"));
        }
    }

    [Fact]
    public void Only_compute_and_cuda_allow_unsafe_code()
    {
        string[] unsafeProjects =
        [
            .. Directory.GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories)
                .Where(file => XDocument.Load(file).Descendants("AllowUnsafeBlocks").Any(element => (bool)element))
                .Select(ShortName),
        ];
        Assert.Empty(unsafeProjects.Except(["Compute", "Cuda"]));
        Assert.Contains("Compute", unsafeProjects);
    }

    [Fact]
    public void The_cache_knows_neither_scheduling_nor_execution()
    {
        string[] offenders =
        [
            .. Sources("Engine").Where(file => file.Contains("/Cache/", StringComparison.Ordinal))
                .Where(file => CacheForbidden().IsMatch(File.ReadAllText(file))),
        ];
        Assert.Empty(offenders);
    }

    [Fact]
    public void Engine_mentions_no_text_no_http_no_telemetry_library_and_no_backend_implementation()
    {
        string[] offenders = [.. Sources("Engine").Where(file => EngineForbidden().IsMatch(File.ReadAllText(file)))];
        Assert.Empty(offenders);
    }

    [Fact]
    public void The_service_locator_stays_in_Program()
    {
        string[] offenders =
        [
            .. Sources("Server").Where(file => Path.GetFileName(file) != "Program.cs")
                .Where(file => ServiceLocator().IsMatch(File.ReadAllText(file))),
        ];
        Assert.Empty(offenders);
    }

    [Fact]
    public void Program_is_a_composition_root_of_under_80_lines() =>
        Assert.InRange(File.ReadAllLines(Path.Combine(Root, "src/InferenceService.Server/Program.cs")).Length, 1, 79);

    [Fact]
    public void No_file_is_named_after_the_rest()
    {
        string[] offenders = [.. AllSources().Where(file => TheRest().IsMatch(Path.GetFileNameWithoutExtension(file)))];
        Assert.Empty(offenders);
    }

    [Fact]
    public void A_file_above_400_lines_says_why_in_its_header()
    {
        string[] offenders =
        [
            .. AllSources()
                .Where(file => File.ReadLines(file).Count() > 400)
                .Where(file => !File.ReadLines(file).First().StartsWith("// ", StringComparison.Ordinal)),
        ];
        Assert.Empty(offenders);
    }

    [Fact]
    public void No_folder_is_named_like_a_type_in_it()
    {
        string[] offenders =
        [
            .. AllSources().Where(file => Path.GetFileName(Path.GetDirectoryName(file)) == Path.GetFileNameWithoutExtension(file)),
        ];
        Assert.Empty(offenders);
    }

    [Fact]
    public void Namespaces_equal_folder_paths()
    {
        var offenders = new List<string>();
        foreach (string file in AllSources())
        {
            Match declared = NamespaceLine().Match(File.ReadAllText(file));
            string folder = Path.GetRelativePath(Path.Combine(Root, "src"), Path.GetDirectoryName(file)!).Replace('/', '.');
            if (declared.Success && declared.Groups[1].Value != folder)
                offenders.Add($"{Path.GetRelativePath(Root, file)}: {declared.Groups[1].Value}");
        }

        Assert.Empty(offenders);
    }

    [GeneratedRegex(@"InferenceService\.Engine\.(Scheduling|Execution|Sampling)\b")]
    private static partial Regex CacheForbidden();

    [GeneratedRegex(@"InferenceService\.(Text|Cuda|Server|Compute\.Cpu)\b|Microsoft\.AspNetCore|OpenTelemetry|\bActivitySource\b|Diagnostics\.Metrics")]
    private static partial Regex EngineForbidden();

    [GeneratedRegex(@"\bIServiceProvider\b|\bRequestServices\b")]
    private static partial Regex ServiceLocator();

    [GeneratedRegex("(Manager|Helper|Helpers|Utils|Util|Utilities|Common|Misc)$")]
    private static partial Regex TheRest();

    [GeneratedRegex(@"^namespace ([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex NamespaceLine();

    private static IEnumerable<string> AllSources() => MayReference.Keys.SelectMany(Sources);

    private static IEnumerable<string> Sources(string project)
    {
        string folder = Path.Combine(Root, "src", $"InferenceService.{project}");
        return Directory.Exists(folder)
            ? Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories)
                .Where(file => !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/bin/", StringComparison.Ordinal))
            : [];
    }

    private static string ShortName(string projectFile) =>
        Path.GetFileNameWithoutExtension(projectFile.Replace('\\', '/')).Replace("InferenceService.", "", StringComparison.Ordinal);

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "InferenceService.sln")))
            folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException("The tests must run inside the repository.");
    }
}
