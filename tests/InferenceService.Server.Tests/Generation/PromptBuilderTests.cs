using System.Text.Json;
using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Text.Templates;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Tests.Generation;

[Collection(ServerCollection.Name)]
public sealed class PromptBuilderTests(ServerFixture fixture)
{
    private const string Plain = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    private const string Parts = "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}";

    [Theory]
    [InlineData(Plain, "[user]a\nb")]
    [InlineData(Parts, "[user]<a><b>")]
    public void Text_parts_stay_parts_only_for_templates_that_read_them(string template, string expected) =>
        Assert.Equal(expected, Render(template, """{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}"""));

    [Fact]
    public void A_string_becomes_a_part_for_a_template_that_reads_nothing_else() => Assert.Equal(
        "<a>",
        Render("{% for m in messages %}{% for p in m.content %}{% if p.type == 'text' %}<{{ p.text }}>{% endif %}{% endfor %}{% endfor %}", """{"messages":[{"role":"user","content":"a"}]}"""));

    [Theory]
    [InlineData("{% for m in messages %}{% if m.role == 'system' %}S:{{ m.content }}{% elif m.role == 'user' %}U:{{ m.content }}{% endif %}{% endfor %}", "S:xU:y")]
    [InlineData("{% for m in messages %}{% if m.role == 'developer' %}D:{{ m.content }}{% elif m.role == 'user' %}U:{{ m.content }}{% endif %}{% endfor %}", "D:xU:y")]
    public void Developer_becomes_system_only_where_the_template_does_not_know_it(string template, string expected) =>
        Assert.Equal(expected, Render(template, """{"messages":[{"role":"developer","content":"x"},{"role":"user","content":"y"}]}"""));

    [Theory]
    [InlineData("Hello ")]
    [InlineData("")]
    public void A_continued_message_is_left_open_where_its_content_ends(string content)
    {
        const string Template = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
        string prompt = Render(Template, $$"""{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"{{content}}"}],"continue_final_message":true}""");
        Assert.Equal($"<user>Hi</><assistant>{content}", prompt);
    }

    [Fact]
    public void A_template_that_hides_the_last_message_cannot_continue_it()
    {
        var problems = new Problems();
        Assert.Null(Build("{{ messages[0].content }}", """{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"continue_final_message":true}""", problems));
        Assert.Equal("continue_final_message", problems.ToError()!.Param);
    }

    [Fact]
    public void The_models_own_template_never_leaks_through_an_error()
    {
        var problems = new Problems();
        Assert.Null(Build("{{ secret_of_the_template.x.y }}", """{"messages":[{"role":"user","content":"a"}]}""", problems));
        Assert.Equal("invalid_messages", problems.ToError()!.Code);
        Assert.DoesNotContain("secret", problems.ToError()!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_raised_error_is_shown_on_one_line()
    {
        var problems = new Problems();
        Assert.Null(Build("{{ raise_exception('no\\nsuch role') }}", """{"messages":[{"role":"user","content":"a"}]}""", problems));
        Assert.EndsWith("no such role", problems.ToError()!.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("<s>hi", true, 1)]
    [InlineData("hi", true, 1)]
    [InlineData("<s>hi", false, 1)]
    [InlineData("hi", false, 0)]
    [InlineData("<s><s>hi", true, 2)]
    public void A_first_token_is_not_doubled(string text, bool addSpecialTokens, int expected)
    {
        // A tokenizer whose post-processor puts <s> first.
        var tokenizer = Tokenizer.FromJson("""
            {"version":"1.0","added_tokens":[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
             "normalizer":null,"pre_tokenizer":null,"decoder":null,
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
              "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}},
             "model":{"type":"BPE","vocab":{"<s>":0,"h":1,"i":2},"merges":[]}}
            """u8.ToArray(), """{"bos_token":"<s>"}"""u8.ToArray());
        Prompt? prompt = new PromptBuilder(Model(null, tokenizer)).Encode(text, addSpecialTokens, "prompt", new Problems());
        Assert.Equal([.. Enumerable.Repeat(0, expected), 1, 2], prompt!.Ids);
    }

    private string Render(string template, string json)
    {
        var problems = new Problems();
        Prompt? prompt = Build(template, json, problems);
        Assert.Null(problems.ToError());
        return prompt!.Text!;
    }

    private Prompt? Build(string template, string json, Problems problems)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        ChatPromptFields chat = ChatPromptFields.Read(new FieldReader(document.RootElement, "", problems), new LimitOptions());
        Assert.Null(problems.ToError());
        return new PromptBuilder(Model(ChatTemplate.Parse(template), null)).FromChat(chat, limit: null, problems);
    }

    private ServedModel Model(ChatTemplate? template, Tokenizer? tokenizer)
    {
        ServedModel tiny = fixture.Server.Service<IModelCatalog>().Models[0];
        return new ServedModel
        {
            Names = tiny.Names,
            Tokenizer = tokenizer ?? tiny.Tokenizer,
            ChatTemplate = template,
            Defaults = tiny.Defaults,
            Engine = tiny.Engine,
            Created = tiny.Created,
            MaxModelLength = tiny.MaxModelLength,
            OutputFacts = tiny.OutputFacts,
            Policies = tiny.Policies,
            Quantization = tiny.Quantization,
        };
    }
}
