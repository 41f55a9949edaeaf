using FsCheck;
using FsCheck.Fluent;
using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

/// <summary>Random sources: whatever they are, the engine prints or says in a <see cref="TemplateException"/> why not.</summary>
public sealed class RandomTemplateTests
{
    private static readonly string[] Soup =
    [
        "{{", "}}", "{%", "%}", "{#", "#}", "{{-", "-%}", "{%+", " ", "\n", "text", "'", "\"", "\\", "if", "elif", "else", "endif", "for", "in", "endfor",
        "recursive", "set", "endset", "macro", "endmacro", "call", "endcall", "filter", "endfilter", "with", "endwith", "raw", "endraw", "generation",
        "endgeneration", "break", "continue", "do", "not", "and", "or", "is", "x", "y", "loop", "messages", "none", "true", "1", "2.5", "0x", "'a'", "(", ")",
        "[", "]", "{", "}", ",", ":", ".", "|", "~", "+", "-", "*", "**", "/", "//", "%", "==", "<", "=", "upper", "tojson", "namespace", "range", "é", "😀", "\0",
    ];

    private static readonly string[] Values =
    [
        "1", "-7", "2.5", "''", "'a b'", "'😀é'", "none", "true", "[]", "[1, 'a']", "{'a': 1}", "(1, 2)", "range(5)", "messages", "missing", "loop", "ns", "m",
        "namespace", "big", "messages[0]", "messages|map(attribute='role')", "'%5.2f'", "'{:>5}'",
    ];

    private static readonly string[] Operators =
        ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or", "if", "is", "is not"];

    private static readonly string[] Tails =
    [
        "|upper", "|length", "|first", "|last", "|list", "|sort", "|join('-')", "|tojson", "|tojson(indent=2)", "|int", "|float", "|round", "|abs", "|sum",
        "|unique|list", "|map('upper')|list", "|select('string')|list", "|groupby(0)", "|dictsort", "|batch(2)|list", "|slice(2)|list", "|indent", "|trim",
        "|replace('a', 'b')", "|default('d')", "|items|list", "|reverse|list", "|min", "|max", "|pprint", "|urlencode", "|e", "|safe", "|format(1)", "|wordcount",
        "|title", "|truncate(3)", "|xmlattr", ".items()", ".keys()", ".get('a')", ".split()", ".strip('a')", ".format(1, a=2)", ".upper()", ".find('a')",
        ".join('ab')", ".index(1)", ".a.b", ".a", "[0]", "[-1]", "[1:]", "[::-1]", "[::2]", "['a']", "()", "(1, a=2)", " is defined", " is odd", " is mapping",
        " is in [1]", " is divisibleby 2", "|nosuch", " is nosuch", ".append(1)", ".__class__",
    ];

    private static readonly TemplateLimits Limits = new() { MaxSteps = 20_000, MaxOutputChars = 100_000 };

    [Fact]
    public void Token_soup_never_does_worse_than_a_template_error()
    {
        Gen<string> words = Gen.Elements(Soup).ListOf().Select(string.Concat);
        Gen<string> tags = Gen.Elements(Soup).ListOf().Select(parts => "{% " + string.Join(' ', parts) + " %}{{ " + string.Join(' ', parts) + " }}");
        Check(Gen.OneOf(words, tags), 5_000);
    }

    [Fact]
    public void Random_expressions_never_do_worse_than_a_template_error()
    {
        Gen<string> operand = from value in Gen.Elements(Values)
                              from tails in Gen.Elements(Tails).ListOf().Resize(3)
                              select "(" + value + ")" + string.Concat(tails);
        Gen<string> expression = from left in operand
                                 from op in Gen.Elements(Operators)
                                 from right in operand
                                 select $"{left} {op} {right}";
        Gen<string> statement = from e in expression
                                from f in expression
                                from shape in Gen.Elements(
                                    "{{{{ {0} }}}}", "{{% for x in {0} %}}{{{{ loop.index }}}}{{{{ {1} }}}}{{% endfor %}}", "{{% set ns.a = {0} %}}{{{{ ns }}}}",
                                    "{{% if {0} %}}{{{{ {1} }}}}{{% endif %}}", "{{% macro m(a={0}) %}}{{{{ a }}}}{{% endmacro %}}{{{{ m({1}) }}}}",
                                    "{{% set x %}}{{{{ {0} }}}}{{% endset %}}{{{{ x[{1}] }}}}", "{{% filter replace({0}, {1}) %}}abc{{% endfilter %}}",
                                    "{{% for x, y in {0} if {1} recursive %}}{{{{ loop(y) }}}}{{% else %}}e{{% endfor %}}")
                                select string.Format(System.Globalization.CultureInfo.InvariantCulture, shape, e, f);
        Check(statement.ListOf().Select(list => "{% set ns = namespace(a=1) %}" + string.Concat(list)), 1_000);
    }

    private static void Check(Gen<string> sources, int count)
    {
        TemplateContext context = TemplateGoldens.Context("""{"messages": [{"role": "user", "content": "hi"}], "big": 18446744073709551615, "y": [1, [2]]}""");
        Prop.ForAll(sources.ToArbitrary(), source =>
        {
            try
            {
                ChatTemplate.Parse(source, Limits).Render(context);
            }
            catch (TemplateException e)
            {
                Assert.False(string.IsNullOrEmpty(e.Message));
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(count));
    }
}
