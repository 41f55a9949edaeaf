using System.Text.RegularExpressions;

namespace InferenceService.Server.Tests;

/// <summary>docs/reliability.md promises nothing that no test holds.</summary>
public sealed partial class ReliabilityTests
{
    private static readonly string[] Rows =
    [
        .. File.ReadAllLines(Path.Combine(ArchitectureTests.Root, "docs/reliability.md"))
            .Where(line => line.StartsWith("| ", StringComparison.Ordinal) && !line.StartsWith("| Promise |", StringComparison.Ordinal)),
    ];

    private static readonly Lazy<ILookup<string, string>> Sources = new(() =>
        Directory.EnumerateFiles(Path.Combine(ArchitectureTests.Root, "tests"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/bin/", StringComparison.Ordinal))
            .ToLookup(file => Path.GetFileNameWithoutExtension(file), File.ReadAllText));

    [Fact]
    public void Every_test_that_the_table_names_exists()
    {
        string[] names = [.. Rows.SelectMany(row => TestName().Matches(Cells(row)[1])).Select(match => match.Groups[1].Value)];
        Assert.NotEmpty(names);
        Assert.All(names, name => Assert.True(Exists(name), name));
    }

    [Fact]
    public void Every_promise_names_a_test_or_a_command()
    {
        string just = File.ReadAllText(Path.Combine(ArchitectureTests.Root, "justfile"));
        foreach (string row in Rows)
        {
            string[] cells = Cells(row);
            Assert.True(cells.Length == 3, $"promise, test and figure expected: {row}");
            string[] commands = [.. JustRecipe().Matches(cells[1]).Select(match => match.Groups[1].Value)];
            Assert.True(TestName().IsMatch(cells[1]) || FileName().IsMatch(cells[1]) || commands.Length > 0, $"no test and no command: {row}");
            Assert.All(commands, recipe => Assert.Matches($@"(?m)^{recipe}\b[^\n]*:", just));
            Assert.All(FileName().Matches(cells[1]), file => Assert.True(File.Exists(Path.Combine(ArchitectureTests.Root, file.Groups[1].Value)), file.Value));
        }
    }

    // Class.Test, where the class has a file of its name.
    private static bool Exists(string name)
    {
        string[] parts = name.Split('.');
        return Sources.Value[parts[0]].Any(text => text.Contains($" {parts[1]}(", StringComparison.Ordinal));
    }

    private static string[] Cells(string row) => [.. row.Split('|')[1..^1].Select(cell => cell.Trim())];

    [GeneratedRegex(@"`([A-Z]\w*\.[A-Z]\w*)`")]
    private static partial Regex TestName();

    [GeneratedRegex("`just ([a-z]+)[^`]*`")]
    private static partial Regex JustRecipe();

    [GeneratedRegex("`((?:tests|deploy|tools)/[^` ]+)[^`]*`")]
    private static partial Regex FileName();
}
