using System.Reflection;

namespace InferenceService.Server.Tests.Security;

/// <summary>docs/security.md lists no class of attack that no test makes, and no test makes one that it does not list.</summary>
public sealed class SecurityPageTests
{
    [Fact]
    public void Every_class_of_attack_has_a_test_of_its_name()
    {
        string page = File.ReadAllText(Path.Combine(ArchitectureTests.Root, "docs/security.md"));
        string table = page.Split("## Classes of attack")[1].Split("\n## ")[0];
        string[] listed =
        [
            .. table.Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal) && !line.StartsWith("| Class |", StringComparison.Ordinal))
                .Select(line => line.Split('|')[1].Trim().Replace(' ', '_')),
        ];
        string[] tests =
        [
            .. typeof(ThreatTests).GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
                .Where(method => method.GetCustomAttribute<FactAttribute>() is { Skip: null }).Select(method => method.Name),
        ];
        Assert.True(listed.Length >= 20, $"only {listed.Length} classes are listed");
        Assert.Equal(listed.Order(StringComparer.Ordinal), tests.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Every_test_that_the_page_names_exists()
    {
        string page = File.ReadAllText(Path.Combine(ArchitectureTests.Root, "docs/security.md"));
        string[] classes = [.. page.Split('`').Where((_, i) => i % 2 == 1).Where(code => code.EndsWith("Tests", StringComparison.Ordinal)).Distinct()];
        Assert.NotEmpty(classes);
        Assert.All(classes, name => Assert.NotNull(typeof(ThreatTests).Assembly.GetType($"InferenceService.Server.Tests.Security.{name}")));
    }
}
