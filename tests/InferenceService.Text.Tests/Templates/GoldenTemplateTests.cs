using System.Text;
using System.Text.Json;
using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

/// <summary>Real chat templates against the prompts that Hugging Face's own code makes of them; see tests/golden/chat-templates/README.md.</summary>
public sealed class GoldenTemplateTests
{
    private const string File = "chat-templates/goldens.jsonl";

    public static TheoryData<string> Files() =>
        [.. TemplateGoldens.Lines(File).Select(line => line.GetProperty("template_file").GetString()!).Distinct()];

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_golden_prompt_comes_out_exactly(string file)
    {
        ChatTemplate template = Open(file);
        StringBuilder problems = new();
        int lines = 0;
        foreach (JsonElement line in TemplateGoldens.Lines(File).Where(line => line.GetProperty("template_file").GetString() == file))
        {
            lines++;
            (string kind, string expected) = line.TryGetProperty("expected", out JsonElement prompt)
                ? ("prompt", prompt.GetString()!)
                : (line.GetProperty("error_kind").GetString()!, line.GetProperty("error").GetString()!);
            (string gotKind, string got) = Render(template, Context(line));
            if ((gotKind, got) != (kind, expected))
                problems.AppendLine($"{line.GetProperty("source")}\n  expected {kind}: {expected}\n  got {gotKind}: {got}");
        }
        Assert.True(problems.Length == 0, problems.ToString());
        Assert.True(lines >= 5);
    }

    [Fact]
    public async Task One_template_renders_the_same_on_many_threads_at_once()
    {
        ChatTemplate template = Open("templates/HuggingFaceTB-SmolLM3-3B.jinja");
        JsonElement[] lines = [.. TemplateGoldens.Lines(File).Where(l => l.GetProperty("template_file").GetString()!.Contains("SmolLM3"))];
        TemplateContext[] contexts = [.. lines.Select(Context)];
        await Parallel.ForAsync(0, 200, (i, _) =>
        {
            int line = i % lines.Length;
            Assert.Equal(lines[line].GetProperty("expected").GetString(), template.Render(contexts[line]));
            return ValueTask.CompletedTask;
        });
    }

    internal static ChatTemplate Open(string file) =>
        ChatTemplate.Parse(System.IO.File.ReadAllText(Path.Combine(TemplateGoldens.Folder, "chat-templates", file)));

    private static TemplateContext Context(JsonElement line)
    {
        TemplateContext context = new() { Time = TemplateGoldens.Noon };
        foreach (string name in new[] { "messages", "tools", "add_generation_prompt" })
        {
            if (line.TryGetProperty(name, out JsonElement value))
                context.Set(name, Value.FromJson(value));
        }
        return line.TryGetProperty("variables", out JsonElement variables) ? TemplateGoldens.Fill(context, variables) : context;
    }

    private static (string Kind, string Text) Render(ChatTemplate template, TemplateContext context)
    {
        try
        {
            return ("prompt", template.Render(context));
        }
        catch (TemplateException e)
        {
            return (e.RaisedByTemplate ? "raise_exception" : "error", e.Message);
        }
    }
}
