using System.Text.Json;

namespace InferenceService.Server.Tests.Security;

/// <summary>The bill of materials lists what the lock files pin, no more and no less. <c>just sbom</c> writes it again.</summary>
public sealed class SbomTests
{
    private static readonly JsonElement Sbom = Parse("src/InferenceService.Server/sbom.cdx.json");

    [Fact]
    public void Every_package_of_the_lock_files_is_in_it_with_version_hash_and_licence()
    {
        var pinned = new SortedDictionary<string, (string Version, string Hash)>(StringComparer.Ordinal);
        foreach (string file in Directory.GetFiles(Path.Combine(ArchitectureTests.Root, "src"), "packages.lock.json", SearchOption.AllDirectories))
        {
            foreach (JsonProperty package in Parse(file).GetProperty("dependencies").EnumerateObject().SelectMany(framework => framework.Value.EnumerateObject()))
            {
                if (package.Value.GetProperty("type").GetString() != "Project")
                    pinned[package.Name] = (package.Value.GetProperty("resolved").GetString()!, package.Value.GetProperty("contentHash").GetString()!);
            }
        }

        Assert.NotEmpty(pinned);
        JsonElement[] libraries = [.. Sbom.GetProperty("components").EnumerateArray().Where(component => component.GetProperty("type").GetString() == "library")];
        Assert.Equal(pinned.Select(package => $"pkg:nuget/{package.Key}@{package.Value.Version}").Order(StringComparer.Ordinal), libraries.Select(library => library.GetProperty("purl").GetString()!).Order(StringComparer.Ordinal));
        foreach (JsonElement library in libraries)
        {
            string name = library.GetProperty("name").GetString()!;
            Assert.Equal(pinned[name].Hash, library.GetProperty("properties")[0].GetProperty("value").GetString());
            Assert.Matches("^[0-9a-f]{128}$", library.GetProperty("hashes")[0].GetProperty("content").GetString());
            Assert.True(library.GetProperty("licenses").GetArrayLength() > 0, name);
            Assert.NotEmpty(library.GetProperty("supplier").GetProperty("name").GetString()!);
        }
    }

    [Fact]
    public void It_is_a_whole_document_of_its_format()
    {
        Assert.Equal(("CycloneDX", "1.6", 1), (Sbom.GetProperty("bomFormat").GetString(), Sbom.GetProperty("specVersion").GetString(), Sbom.GetProperty("version").GetInt32()));
        string[] known = [.. Sbom.GetProperty("components").EnumerateArray().Append(Sbom.GetProperty("metadata").GetProperty("component")).Select(component => component.GetProperty("bom-ref").GetString()!)];
        Assert.Equal(known.Length, known.Distinct().Count());
        foreach (JsonElement dependency in Sbom.GetProperty("dependencies").EnumerateArray())
        {
            Assert.Contains(dependency.GetProperty("ref").GetString(), known);
            Assert.All(dependency.GetProperty("dependsOn").EnumerateArray(), need => Assert.Contains(need.GetString(), known));
        }
    }

    [Fact]
    public void It_lies_beside_the_server() => Assert.True(File.Exists(Path.Combine(AppContext.BaseDirectory, "sbom.cdx.json")));

    private static JsonElement Parse(string path) => JsonDocument.Parse(File.ReadAllText(Path.Combine(ArchitectureTests.Root, path))).RootElement;
}
