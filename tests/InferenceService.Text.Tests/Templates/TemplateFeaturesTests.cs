using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

/// <summary>What is found out about a template before it is used.</summary>
public sealed class TemplateFeaturesTests
{
    [Theory]
    [InlineData("Qwen-Qwen2.5-7B-Instruct", false, true, true, false)]
    [InlineData("Qwen-Qwen3-0.6B", false, true, true, false)]
    [InlineData("microsoft-Phi-3.5-mini-instruct", false, false, true, false)]
    [InlineData("mistralai-Mistral-Nemo-Instruct-2407", false, true, true, false)]
    [InlineData("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", false, false, true, false)]
    [InlineData("meta-llama-Llama-3.1-8B-Instruct", false, true, true, false)]
    [InlineData("google-gemma-2-2b-it", false, false, false, false)]
    [InlineData("HuggingFaceTB-SmolLM3-3B", false, true, true, false)]
    [InlineData("HuggingFaceH4-zephyr-7b-beta", false, false, true, false)]
    public void Known_templates_are_understood(string name, bool parts, bool tools, bool system, bool developer) =>
        Check(GoldenTemplateTests.Open($"templates/{name}.jinja"), parts, tools, system, developer);

    [Theory]
    [InlineData("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}", true, false, true, false)]
    [InlineData("{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }}{% endfor %}", true, false, true, false)]
    [InlineData("{% for m in messages %}{{ m.content }}{% endfor %}", false, false, true, false)]
    [InlineData("{% for m in messages %}{{ m.content|tojson }}{% endfor %}", false, false, true, false)]
    [InlineData("{% for m in messages if m.role == 'user' %}{{ '' + m.content }}{% endfor %}", false, false, false, false)]
    [InlineData("{% for m in messages %}{% if m.role in ['developer', 'system', 'user'] %}{{ '' + m.content }}{% endif %}{% endfor %}{{ tools }}", false, true, true, true)]
    [InlineData("{% if tools %}{{ raise_exception('never') }}{% endif %}{{ messages }}", false, true, true, false)]
    [InlineData("{% for tools in messages %}{{ tools.role }}{% endfor %}", false, false, false, false)]
    [InlineData("{{ raise_exception('always') }}", false, false, true, false)]
    [InlineData("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", false, false, true, false)]
    public void Small_templates_are_understood(string source, bool parts, bool tools, bool system, bool developer) =>
        Check(ChatTemplate.Parse(source, new TemplateLimits { MaxSteps = 100_000 }), parts, tools, system, developer);

    [Theory]
    [InlineData("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}", true)]
    [InlineData("{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }}{% endfor %}", false)]
    [InlineData("{% for m in messages %}{{ m.content }}{% endfor %}", false)]
    [InlineData("{{ raise_exception('always') }}", false)]
    public void A_template_that_shows_only_parts_says_so(string source, bool only) =>
        Assert.Equal(only, ChatTemplate.Parse(source).RequiresContentParts);

    private static void Check(ChatTemplate template, bool parts, bool tools, bool system, bool developer) => Assert.Equal(
        (parts, tools, system, developer),
        (template.HandlesContentParts, template.HandlesTools, template.SupportsSystemRole, template.HandlesDeveloperRole));
}
