using System.Globalization;
using System.Numerics;
using System.Text.Json;
using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

public sealed class TemplateContextTests
{
    [Fact]
    public void An_absent_variable_is_undefined_and_a_null_one_is_none() => Assert.Equal(
        "False True True|None",
        TemplateGoldens.Render("{{ a is defined }} {{ b is defined }} {{ b is none }}|{{ a }}{{ b }}", """{"b": null}"""));

    [Fact]
    public void A_variable_hides_the_global_of_its_name() =>
        Assert.Equal("x", TemplateGoldens.Render("{{ range }}", """{"range": "x"}"""));

    [Theory]
    [InlineData("1", "1")]
    [InlineData("1.0", "1.0")]
    [InlineData("-0", "0")]
    [InlineData("-0.0", "-0.0")]
    [InlineData("1e3", "1000.0")]
    [InlineData("1E400", "inf")]
    [InlineData("0.1", "0.1")]
    [InlineData("18446744073709551615", "18446744073709551615")]
    [InlineData("-123456789012345678901234567890", "-123456789012345678901234567890")]
    [InlineData("true", "True")]
    [InlineData("null", "None")]
    [InlineData("\"a\"", "a")]
    [InlineData("[1, \"a\", null]", "[1, 'a', None]")]
    [InlineData("{\"z\": 1, \"a\": {\"b\": []}}", "{'z': 1, 'a': {'b': []}}")]
    [InlineData("{\"a\": 1, \"b\": 2, \"a\": 3}", "{'a': 3, 'b': 2}")]
    public void Json_prints_as_in_Python(string json, string printed) =>
        Assert.Equal(printed, TemplateGoldens.Render("{{ x }}", $$"""{"x": {{json}}}"""));

    [Fact]
    public void Values_made_in_code_equal_those_from_json()
    {
        TemplateContext context = TemplateGoldens.Context("""{"json": {"s": "é", "i": 5, "f": 2.0, "t": true, "n": null, "l": [1, []]}}""");
        context.Set("code", Value.Dict(
            new("s", Value.Of("é")),
            new("i", Value.Of(5)),
            new("f", Value.Of(2.0)),
            new("t", Value.Of(true)),
            new("n", Value.None),
            new("l", Value.List(Value.Of(1), Value.List()))));
        Assert.Equal("True {\"s\": \"é\", \"i\": 5, \"f\": 2.0, \"t\": true, \"n\": null, \"l\": [1, []]}",
            ChatTemplate.Parse("{{ code == json }} {{ code|tojson }}").Render(context));
    }

    [Fact]
    public void A_lone_surrogate_in_json_is_refused()
    {
        foreach (string json in new[] { "\"\\ud800\"", "{\"\\udc00\": 1}" })
        {
            using JsonDocument document = JsonDocument.Parse(json);
            Assert.Equal(
                "a JSON string holds half of a surrogate pair",
                Assert.Throws<TemplateException>(() => Value.FromJson(document.RootElement)).Message);
        }
    }

    [Fact]
    public void An_integer_beyond_4096_bits_is_refused_without_parsing_it()
    {
        BigInteger largest = BigInteger.Pow(2, 4096) - 1;
        Assert.Equal(largest.ToString(CultureInfo.InvariantCulture), TemplateGoldens.Render("{{ x }}", $$"""{"x": {{largest}}}"""));
        foreach (string digits in new[] { (largest + 1).ToString(CultureInfo.InvariantCulture), new string('9', 10_000_000) })
            Assert.Throws<TemplateException>(() => Value.FromJson(JsonSerializer.Deserialize<JsonElement>(digits)));
    }

    [Fact]
    public void Json_nested_too_deep_for_the_stack_is_refused()
    {
        string json = new string('[', 10_000) + new string(']', 10_000);
        using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 10_000 });
        Exception? failure = null;
        Thread thread = new(() => failure = Record.Exception(() => Value.FromJson(document.RootElement)), maxStackSize: 256 * 1024);
        thread.Start();
        thread.Join();
        Assert.IsType<TemplateException>(failure);
    }

    [Fact]
    public void The_clock_and_its_zone_are_the_callers() =>
        Assert.Equal("10 Jul 2025 12:00", TemplateGoldens.Render("{{ strftime_now('%d %b %Y %H:%M') }}"));

    [Fact]
    public void Rendering_leaves_the_context_as_it_was()
    {
        TemplateContext context = TemplateGoldens.Context("""{"x": [1], "d": {"a": 1}}""");
        ChatTemplate template = ChatTemplate.Parse("{% set x = x + [2] %}{% set d = dict(d, b=2) %}{% set ns = namespace(d) %}{% set ns.a = 5 %}{{ x }}{{ d }}{{ ns.a }}");
        Assert.Equal("[1, 2]{'a': 1, 'b': 2}5", template.Render(context));
        Assert.Equal("[1, 2]{'a': 1, 'b': 2}5", template.Render(context));
    }
}
