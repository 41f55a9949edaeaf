using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

public sealed class TemplateErrorTests
{
    // Each line is source, line of the error, message.
    public static TheoryData<string, int, string> Errors() => new()
    {
        { "{{ a.b.c }}", 1, "'a' is undefined" },
        { "{{ {'x': 1}.y.z }}", 1, "'dict object' has no attribute 'y'" },
        { "\n\n{{ [1][5].x }}", 3, "list object has no element 5" },
        { "{{ none.x.y }}", 1, "'None' has no attribute 'x'" },
        { "{{ 'a' + 1 }}", 1, "can only concatenate str (not \"int\") to str" },
        { "{{ 1 + 'a' }}", 1, "unsupported operand type(s) for +: 'int' and 'str'" },
        { "{{ 'a' < 1 }}", 1, "'<' not supported between instances of 'str' and 'int'" },
        { "{{ 1 / 0 }}", 1, "division by zero" },
        { "{{ [].append(1) }}", 1, "access to attribute 'append' of 'list' object is unsafe." },
        { "{{ ''.__class__() }}", 1, "access to attribute '__class__' of 'str' object is unsafe." },
        { "{{ 5() }}", 1, "'int' object is not callable" },
        { "{{ 'x'.nosuch() }}", 1, "'str object' has no attribute 'nosuch'" },
        { "a\n{{ 'x'|nosuch }}", 2, "No filter named 'nosuch'." },
        { "{% if 1 %}\n{{ 'x'|nosuch }}{% endif %}", 2, "No filter named 'nosuch'." },
        { "{{ 1 is nosuch }}", 1, "No test named 'nosuch'." },
        { "{{ 'x'|random }}", 1, "the filter 'random' is not available: a prompt must not be random" },
        { "{{ lipsum() }}", 1, "lipsum() is not available: a prompt must not be random" },
        { "{{ undefined_thing() }}", 1, "'undefined_thing' is undefined" },
        { "{% for a, b in [1] %}{% endfor %}", 1, "cannot unpack non-iterable int object" },
        { "{% for a, b in [(1, 2, 3)] %}{% endfor %}", 1, "too many values to unpack (expected 2)" },
        { "{% set x.y = 1 %}", 1, "cannot assign attribute on non-namespace object" },
        { "{{ undefined_thing|tojson }}", 1, "Object of type Undefined is not JSON serializable" },
        { "{{ range(10 ** 9) }}", 1, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)." },
        { "{% macro m() %}{% endmacro %}\n{{ m(1) }}", 2, "macro 'm' takes not more than 0 argument(s)" },
        { "{% macro m() %}\n{{ 1 + 'a' }}{% endmacro %}\n\n{{ m() }}", 2, "unsupported operand type(s) for +: 'int' and 'str'" },
        { "{{ 'x'|replace('a') }}", 1, "replace() missing a required argument: 'new'" },
        { "{{ 'x'|trim(foo=1) }}", 1, "trim() got an unexpected keyword argument 'foo'" },
        { "{{ 'x'|upper(1) }}", 1, "upper() takes no arguments (1 given)" },
        { "text\n{% if x %}\n", 2, "unexpected end of template: the tag 'if' is not closed by 'elif' or 'else' or 'endif'" },
        { "{% endif %}", 1, "Encountered unknown tag 'endif'." },
        { "{% for x in y %}{% nope %}{% endfor %}", 1, "Encountered unknown tag 'nope'. Inside 'for' it could be 'endfor' or 'else'." },
        { "{% include 'x' %}", 1, "the tag 'include' is not allowed: a chat template is one file and prints plain text" },
        { "{% block x %}{% endblock %}", 1, "the tag 'block' is not allowed: a chat template is one file and prints plain text" },
        { "{{ a b }}", 1, "expected token 'end of print statement', got 'b'" },
        { "{{ (1 }}", 1, "unexpected '}', expected ')'" },
        { "{{ }}", 1, "Expected an expression, got 'end of print statement'" },
        { "\n{{ 'abc }}", 2, "unexpected char \"'\" at 4: the string does not end" },
        { "{{ a ? b }}", 1, "unexpected char '?' at 5" },
        { "{{ a", 1, "unexpected end of template, expected 'end of print statement'." },
        { "{# never", 1, "Missing end of comment tag" },
        { "{% raw %}x", 1, "Missing end of raw directive" },
        { "{% break %}", 1, "'break' outside loop" },
        { "{% for x in y %}{% set loop = 1 %}{% endfor %}", 1, "Can't assign to special loop variable in for-loop target" },
        { "{% set 1 = 2 %}", 1, "can't assign to this expression" },
        { "{% macro m(a=1, b) %}{% endmacro %}", 1, "non-default argument follows default argument" },
        { "{{ f(a=1, 2) }}", 1, "invalid syntax for function call expression" },
        { "{{ 1 is odd is even }}", 1, "You cannot chain multiple tests with is" },
    };

    [Theory]
    [MemberData(nameof(Errors))]
    public void An_error_says_what_and_where(string source, int line, string message)
    {
        TemplateException error = Assert.Throws<TemplateException>(() => TemplateGoldens.Render(source));
        Assert.Equal((message, line, false), (error.Message, error.Line, error.RaisedByTemplate));
    }

    [Fact]
    public void What_the_template_raises_is_passed_on_unchanged()
    {
        TemplateException error = Assert.Throws<TemplateException>(
            () => TemplateGoldens.Render("a\n{{ raise_exception('Only user\\nand assistant: ' ~ roles) }}", """{"roles": ["x"]}"""));
        Assert.Equal(("Only user\nand assistant: ['x']", 2, true), (error.Message, error.Line, error.RaisedByTemplate));
    }

    [Fact]
    public void A_value_in_a_message_is_cut_short_and_stays_on_one_line()
    {
        TemplateException error = Assert.Throws<TemplateException>(
            () => TemplateGoldens.Render("{{ {}[key].x }}", $$"""{"key": "{{new string('k', 500)}}\n"}"""));
        Assert.Equal($"'dict object' has no attribute '{new string('k', 61)}...'", error.Message);
    }
}
