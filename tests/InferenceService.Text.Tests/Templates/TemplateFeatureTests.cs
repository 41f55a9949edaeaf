using System.Text;
using System.Text.Json;
using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

/// <summary>Every feature of the language against Jinja2; see tests/golden/template-features/README.md.</summary>
public sealed class TemplateFeatureTests
{
    private static readonly JsonElement[] Cases = [.. TemplateGoldens.Lines("template-features/cases.jsonl")];

    public static TheoryData<string> Features() =>
        [.. Cases.Skip(1).Select(line => line.GetProperty("feature").GetString()!).Distinct()];

    [Theory]
    [MemberData(nameof(Features))]
    public void The_feature_behaves_as_in_Jinja2(string feature)
    {
        TemplateContext context = TemplateGoldens.Context(Cases[0].GetProperty("context"));
        StringBuilder problems = new();
        foreach (JsonElement line in Cases.Skip(1).Where(line => line.GetProperty("feature").GetString() == feature))
        {
            string source = line.GetProperty("source").GetString()!;
            string expected = line.TryGetProperty("expected", out JsonElement text) ? "prints " + text.GetString()
                : line.TryGetProperty("raised", out JsonElement raised) ? "raises " + raised.GetString()
                : "fails";
            string got = Render(source, context);
            if (got != expected && !(expected == "fails" && got.StartsWith("fails: ", StringComparison.Ordinal)))
                problems.AppendLine($"{source}\n  expected: {expected}\n  got:      {got}");
        }
        Assert.True(problems.Length == 0, problems.ToString());
    }

    private static string Render(string source, TemplateContext context)
    {
        try
        {
            return "prints " + ChatTemplate.Parse(source).Render(context);
        }
        catch (TemplateException e)
        {
            return e.RaisedByTemplate ? "raises " + e.Message : "fails: " + e.Message;
        }
    }
}
