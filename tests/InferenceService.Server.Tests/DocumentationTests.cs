using System.Text;
using System.Text.RegularExpressions;

namespace InferenceService.Server.Tests;

/// <summary>Pages that point at something point at something that is there.</summary>
public sealed partial class DocumentationTests
{
    private static readonly string Root = ArchitectureTests.Root;

    [Fact]
    public void Every_link_of_a_page_leads_to_a_file_and_a_heading()
    {
        var broken = new List<string>();
        int links = 0;
        foreach (string page in Pages())
        {
            foreach (Match link in Link().Matches(WithoutCode(File.ReadAllText(page))))
            {
                string target = link.Groups[1].Value;
                if (target.Contains("://", StringComparison.Ordinal) || target.StartsWith("mailto:", StringComparison.Ordinal))
                    continue;
                links++;
                string[] parts = target.Split('#', 2);
                string path = parts[0].Length == 0 ? page : Path.GetFullPath(Path.Combine(Path.GetDirectoryName(page)!, Uri.UnescapeDataString(parts[0])));
                bool there = Path.Exists(path) && (parts.Length == 1 || !path.EndsWith(".md", StringComparison.Ordinal) || Anchors(path).Contains(parts[1]));
                if (!there)
                    broken.Add($"{Path.GetRelativePath(Root, page)}: {target}");
            }
        }

        Assert.Empty(broken);
        Assert.True(links > 50, $"only {links} links were found");
    }

    [Fact]
    public void The_index_names_every_page()
    {
        string docs = Path.Combine(Root, "docs"), index = File.ReadAllText(Path.Combine(docs, "README.md"));
        Assert.All(Directory.GetFiles(docs, "*.md").Select(Path.GetFileName).Where(name => name != "README.md"), name => Assert.Contains($"]({name})", index, StringComparison.Ordinal));
    }

    [Fact]
    public void The_api_page_lists_every_code_of_an_error()
    {
        string page = File.ReadAllText(Path.Combine(Root, "docs/api.md"));
        string table = page[page.IndexOf("## Errors", StringComparison.Ordinal)..];
        string[] codes = [.. Directory.EnumerateFiles(Path.Combine(Root, "src/InferenceService.Server"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !Ignored().IsMatch(file)).SelectMany(file => ErrorCode().Matches(File.ReadAllText(file))).Select(match => match.Groups[1].Value).Distinct()];
        Assert.True(codes.Length > 20, $"only {codes.Length} codes were found");
        Assert.All(codes, code => Assert.Contains($"`{code}`", table, StringComparison.Ordinal));
    }

    [Fact]
    public void No_two_decisions_have_one_number()
    {
        string[] files = [.. Directory.GetFiles(Path.Combine(Root, "docs/adr"), "*.md")];
        Assert.NotEmpty(files);
        Assert.All(files, file => Assert.StartsWith($"# {Path.GetFileName(file)[..4]} ", File.ReadAllText(file), StringComparison.Ordinal));
        Assert.Equal(files.Length, files.Select(file => Path.GetFileName(file)[..4]).Distinct().Count());
    }

    private static IEnumerable<string> Pages() =>
        Directory.GetFiles(Root, "*.md").Concat(((string[])["docs", "deploy", "docker", "tools", "tests"]).Select(folder => Path.Combine(Root, folder)).Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*.md", SearchOption.AllDirectories)))
            .Where(page => !Ignored().IsMatch(page));

    // As GitHub makes them: lower case, spaces to hyphens, other signs dropped, repeated ones numbered.
    private static HashSet<string> Anchors(string page)
    {
        var anchors = new HashSet<string>(StringComparer.Ordinal);
        foreach (Match heading in Heading().Matches(WithoutFences(File.ReadAllText(page))))
        {
            var anchor = new StringBuilder();
            foreach (char c in heading.Groups[1].Value.Trim().ToLowerInvariant())
            {
                if (char.IsLetterOrDigit(c) || c is '-' or '_')
                    anchor.Append(c);
                else if (c == ' ')
                    anchor.Append('-');
            }

            string name = anchor.ToString();
            for (int i = 1; !anchors.Add(name); i++)
                name = $"{anchor}-{i}";
        }

        return anchors;
    }

    private static string WithoutCode(string text) => InlineCode().Replace(WithoutFences(text), "");

    private static string WithoutFences(string text) => Fence().Replace(text, "");

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"^#{1,6} (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex("^```.*?^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Fence();

    [GeneratedRegex("`[^`\n]*`")]
    private static partial Regex InlineCode();

    // As they stand behind their type.
    [GeneratedRegex(@"(?:_error""|Invalid), ""([a-z_]+)""")]
    private static partial Regex ErrorCode();

    [GeneratedRegex(@"/(node_modules|bin|obj)/")]
    private static partial Regex Ignored();
}
