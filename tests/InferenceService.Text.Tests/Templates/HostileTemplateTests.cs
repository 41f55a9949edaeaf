using System.Runtime.ExceptionServices;
using InferenceService.Text.Templates;

namespace InferenceService.Text.Tests.Templates;

/// <summary>Templates that want too much. Each ends in one line of error, on a thread with a small stack, at the cost of the limits.</summary>
public sealed class HostileTemplateTests
{
    private const string Steps = "the template needs more than 200000 steps";
    private const string Chars = "a string is longer than 1048576 characters";
    private const string Depth = " nest";
    private const int StackBytes = 512 * 1024;

    private static readonly TemplateLimits Limits = new() { MaxSteps = 200_000, MaxOutputChars = 1 << 20 };

    // Name, source, part of the message.
    private static TheoryData<string, string, string> Greedy() => new()
    {
        { "string multiplication", "{{ 'a' * 10**9 }}", Chars },
        {
            "string doubling",
            "{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s|length }}",
            Chars
        },
        {
            "list doubling",
            "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s|length }}",
            Steps
        },
        { "list multiplication", "{{ [1] * 10**9 }}", Steps },
        { "huge range", "{{ range(10**9)|list }}", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)." },
        {
            "nested loops",
            "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}x{% endfor %}{% endfor %}{% endfor %}",
            Steps
        },
        { "silent nested loops", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", Steps },
        {
            "power loop",
            "{% set ns = namespace(x=3) %}{% for i in range(100) %}{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}",
            "an integer is larger than 4096 bits"
        },
        { "float power", "{{ 10.0 ** 400 }}", "the result of ** is too large for a float" },
        { "format width", "{{ '{:999999999}'.format('x') }}", Chars },
        { "format precision", "{{ '{:.999999999f}'.format(1.5) }}", Chars },
        { "percent width", "{{ '%999999999d' % 5 }}", Chars },
        { "percent star", "{{ '%*d' % (999999999, 5) }}", Chars },
        { "nested format width", "{{ '{:{w}}'.format('x', w=2000000000) }}", Chars },
        { "center", "{{ 'x'.center(10**9) }}", Chars },
        { "zfill", "{{ 'x'.zfill(10**9) }}", Chars },
        { "expandtabs", "{{ ('\\t' * 1000).expandtabs(10**8) }}", Chars },
        { "indent", "{{ ('a\\n' * 100000)|indent(10**6) }}", Chars },
        { "indent width", "{{ 'a'|indent(10**9, true) }}", Chars },
        { "json indent", "{{ [[[1]]]|tojson(indent=10**9) }}", Chars },
        { "batch fill", "{{ [1]|batch(10**9, 0)|list }}", Steps },
        { "slice", "{{ [1]|slice(10**9)|list }}", Steps },
        { "replace blow-up", "{{ ('a' * 10**5)|replace('', 'b' * 1000) }}", Chars },
        { "replace blow-up 2", "{{ ('a' * 10**5).replace('a', 'a' * 10**5) }}", Chars },
        { "macro recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", Depth },
        { "macro mutual recursion", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", Depth },
        { "call recursion", "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}", Depth },
        { "recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", Depth },
        { "exponential macros", "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(100) }}", Steps },
        { "shared list repr", "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", Steps },
        {
            "shared list json",
            "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
            Steps
        },
        {
            "shared list equality",
            "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
            Steps
        },
        {
            "shared tuple hash",
            "{% set ns = namespace(x=(1,)) %}{% for i in range(100) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
            "a tuple used as a key has more than 64 items"
        },
        {
            "shared list sort",
            "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ [ns.x, ns.y]|sort }}",
            Steps
        },
        {
            "shared list pprint",
            "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|pprint }}",
            Steps
        },
        { "deep list repr", "{% set ns = namespace(x=[1]) %}{% for i in range(8000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", Depth },
        { "deep list json", "{% set ns = namespace(x=[1]) %}{% for i in range(8000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}", Depth },
        {
            "deep list equality",
            "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(8000) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
            Depth
        },
        {
            "deep list order",
            "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(8000) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x < ns.y }}",
            Depth
        },
        { "deep dict repr", "{% set ns = namespace(x={}) %}{% for i in range(8000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}{{ ns.x }}", Depth },
        {
            "deep tuple key",
            "{% set ns = namespace(x=(1,)) %}{% for i in range(8000) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ {ns.x: 1} }}",
            "a tuple used as a key has more than 64 items"
        },
        {
            "deep generators",
            "{% set ns = namespace(x=[1]) %}{% for i in range(8000) %}{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}",
            Depth
        },
        {
            "deep generator filter",
            "{% set ns = namespace(x=[1]) %}{% for i in range(8000) %}{% set ns.x = ns.x|select %}{% endfor %}{{ ns.x|first }}",
            Depth
        },
        {
            "deep closures",
            "{% set ns = namespace(f=none) %}{% for i in range(8000) %}{% macro m(f=ns.f) %}{{ f() if f }}{% endmacro %}{% set ns.f = m %}{% endfor %}{{ ns.f() }}",
            Depth
        },
        {
            "self-containing namespace",
            "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}{{ ns == ns }}{{ ns|tojson }}",
            "Object of type Namespace is not JSON serializable"
        },
        {
            "self-containing list",
            "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x == ns.x }}{{ [ns.x]|sum(start=[]) }}{{ ns.x|tojson }}",
            "Object of type Namespace is not JSON serializable"
        },
        {
            "search worst case",
            "{% set a = 'a' * 10**6 %}{% set b = 'a' * (5 * 10**5) ~ 'b' %}{% for i in range(1000) %}{{ b in a }}{% endfor %}",
            Steps
        },
        {
            "find worst case",
            "{% set a = 'a' * 10**6 %}{% set b = 'a' * (5 * 10**5) ~ 'b' ~ 'a' * 10 %}{% for i in range(1000) %}{{ a.find(b) }}{{ a.rfind(b) }}{{ a.count(b) }}{{ a.split(b) }}{% endfor %}",
            Steps
        },
        { "long keys", "{% set k = 'a' * 10**6 %}{% set d = {k: 1} %}{% for i in range(100000) %}{{ d[k ~ ''] }}{% endfor %}", Steps },
        { "key gets", "{% set k = 'a' * 10**6 %}{% set d = {k: 1} %}{% for i in range(100000) %}{{ d.get(k) }}{{ k in d }}{% endfor %}", Steps },
        {
            "long comparisons",
            "{% set a = 'a' * 10**6 %}{% set b = 'a' * 10**6 %}{% for i in range(100000) %}{{ a == b }}{{ a < b }}{% endfor %}",
            Steps
        },
        { "long upper", "{% set a = 'é' * 10**6 %}{% for i in range(1000) %}{{ a.upper()|length }}{% endfor %}", Steps },
        { "long tests on text", "{% set a = 'é' * 10**6 %}{% for i in range(100000) %}{{ a.isalpha() }}{{ a is lower }}{% endfor %}", Steps },
        { "emoji index", "{% set a = '😀' * 10**5 %}{% for i in range(100000) %}{{ a[i] }}{{ a[::-1]|length }}{% endfor %}", Steps },
        { "unique names", "{% set ns = namespace() %}{% for i in range(100000) %}{{ dict(**{'k' ~ i: i}) }}{% endfor %}", Steps },
        { "sort", "{{ (range(100000)|list * 50)|sort|length }}", Steps },
        { "groupby", "{{ range(100000)|map('string')|groupby(0)|length }}", Steps },
        { "dictsort", "{% set ns = namespace(d={}) %}{% for i in range(100000) %}{% set ns.d = dict(ns.d, **{'k' ~ i: i}) %}{% endfor %}", Steps },
        { "args", "{{ dict(*[1] * 10**8) }}", Steps },
        { "star args", "{% macro m() %}{{ varargs|length }}{% endmacro %}{% for i in range(100000) %}{{ m(*range(100000)) }}{% endfor %}", Steps },
        { "round ceil", "{{ 1.5|round(10**9, 'ceil') }}", "round precision 1000000000 is out of range -308 to 308" },
        { "strftime", "{{ strftime_now('%c' * 10**5) }}", Steps },
        { "wordcount", "{% set a = 'é ' * 10**5 %}{% for i in range(100000) %}{{ a|wordcount }}{% endfor %}", Steps },
        { "escape", "{{ ('<' * 10**5 * 5)|e|length }}", Chars },
        { "captures", "{% for i in range(100000) %}{% set x %}{{ 'a' * 10**6 }}{% endset %}{% endfor %}", Steps },
        { "output", "{% for i in range(100000) %}{{ 'a' * 10**5 }}{% endfor %}", Chars },
        {
            "loop length",
            "{% for x in range(100000) %}{% for y in range(100000)|map('string') %}{{ loop.length }}{% break %}{% endfor %}{% endfor %}",
            Steps
        },
        { "attribute path", "{{ [1]|map(attribute='a.' * 10**5)|list }}", "'int object' has no attribute 'a'" },
        { "replace many", "{% set a = 'ab' * 10**5 %}{% for i in range(1000) %}{{ a.replace('ab', 'c', 10**9)|length }}{% endfor %}", Steps },
        { "splitlines", "{% set a = '\\n' * 10**6 %}{% for i in range(1000) %}{{ a.splitlines()|length }}{% endfor %}", Steps },
        { "strip chars", "{% set a = 'ab' * 10**5 %}{% for i in range(1000) %}{{ a.strip('ab') }}{% endfor %}", Steps },
        { "partition", "{% set a = 'ab' * 10**5 %}{% for i in range(100000) %}{{ a.partition('x')[1] }}{% endfor %}", Steps },
        { "startswith", "{% set a = 'ab' * 10**5 %}{% for i in range(100000) %}{{ a.startswith(a ~ '') }}{% endfor %}", Steps },
        { "list index", "{% set a = range(100000)|list %}{% for i in range(100000) %}{{ a.index(99999) }}{% endfor %}", Steps },
        { "list in", "{% set a = range(100000)|list %}{% for i in range(100000) %}{{ -1 in a }}{% endfor %}", Steps },
        { "count of list", "{% set a = range(100000)|list %}{% for i in range(100000) %}{{ a.count(1) }}{% endfor %}", Steps },
        { "slices", "{% set a = range(100000)|list %}{% for i in range(100000) %}{{ a[:]|length }}{% endfor %}", Steps },
        { "list of list", "{% set a = range(100000)|list %}{% for i in range(100000) %}{% set b = a|list %}{% endfor %}", Steps },
        { "reverse", "{% set a = range(100000)|list %}{% for i in range(100000) %}{% set b = a|reverse|first %}{{ d|last }}{% endfor %}", Steps },
        { "kept strings", "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = ns.l + ['x' * 10**6] %}{% endfor %}", Steps },
        { "pprint of shared rows", "{{ ([range(1000)|list] * 10000)|pprint }}", Steps },
    };

    // What is repeated, source, part of the message.
    private static TheoryData<string, string, string> Repetitive() => new()
    {
        { "parentheses", "{{ " + Repeat("(", 50_000) + "1" + Repeat(")", 50_000) + " }}", Depth },
        { "lists", "{{ " + Repeat("[", 50_000) + Repeat("]", 50_000) + " }}", Depth },
        { "dicts", "{{ " + Repeat("{1:", 50_000) + "1" + Repeat("}", 50_000) + " }}", Depth },
        { "not", "{{ " + Repeat("not ", 50_000) + "1 }}", Depth },
        { "signs", "{{ " + Repeat("- ", 50_000) + "1 }}", Depth },
        { "sum", "{{ " + Repeat("1 + ", 50_000) + "1 }}", Depth },
        { "and", "{{ " + Repeat("1 and ", 50_000) + "1 }}", Depth },
        { "power", "{{ " + Repeat("1 ** ", 50_000) + "1 }}", Depth },
        { "filters", "{{ 1" + Repeat("|string", 50_000) + " }}", Depth },
        { "tests", "{{ 1 is true" + Repeat(" and 1 is true", 20_000) + " }}", Depth },
        { "attributes", "{{ x" + Repeat(".a", 50_000) + " }}", Depth },
        { "subscripts", "{{ x" + Repeat("[0]", 50_000) + " }}", Depth },
        { "calls", "{{ x" + Repeat("()", 50_000) + " }}", Depth },
        { "conditions to the right", "{{ " + Repeat("1 if 0 else ", 50_000) + "1 }}", Depth },
        { "conditions to the left", "{{ 1" + Repeat(" if 1", 50_000) + " }}", Depth },
        { "ifs", Repeat("{% if 1 %}", 20_000) + Repeat("{% endif %}", 20_000), Depth },
        { "fors", Repeat("{% for x in y %}", 20_000) + Repeat("{% endfor %}", 20_000), Depth },
        { "macros", Repeat("{% macro a() %}", 20_000) + Repeat("{% endmacro %}", 20_000), Depth },
        { "set blocks", Repeat("{% set a %}", 20_000) + Repeat("{% endset %}", 20_000), Depth },
        { "targets", "{% set " + Repeat("(", 50_000) + "a" + Repeat(")", 50_000) + " = 1 %}", Depth },
        { "open tags", Repeat("{{ ", 50_000), Depth },
        { "open raw tags", "{% raw %}" + Repeat("{% ", 50_000), "Missing end of raw directive" },
        { "open comments", Repeat("{# ", 50_000), "Missing end of comment tag" },
        { "backslashes", "{{ '" + Repeat("\\\\", 50_000), "the string does not end" },
        { "digits", "{{ " + Repeat("9", 50_000) + " }}", "an integer is larger than 4096 bits" },
        { "hexadecimal digits", "{{ 0x" + Repeat("f", 50_000) + " }}", "an integer is larger than 4096 bits" },
        { "source", Repeat("x", (1 << 20) + 1), "the template has 1048577 characters, more than 1048576" },
    };

    [Fact]
    public void Templates_that_want_too_much_end_in_an_error() => AllRefused(Greedy());

    [Fact]
    public void Templates_that_repeat_without_end_end_in_an_error() => AllRefused(Repetitive());

    [Fact]
    public void Long_flat_templates_are_no_trouble()
    {
        Assert.Equal(new string('1', 10_000), Render("{{ " + Repeat("1 ~ ", 9_999) + "1 }}"));
        Assert.Equal("True", Render("{{ " + Repeat("1 == ", 9_999) + "1 }}"));
        Assert.Equal("x", Render("{% if 0 %}" + Repeat("{% elif 0 %}", 10_000) + "{% else %}x{% endif %}"));
        Assert.Equal("9999", Render(string.Concat(Enumerable.Range(0, 10_000).Select(i => $"{{% if 1 %}}{{% set x{i} = {i} %}}{{% endif %}}")) + "{{ x9999 }}"));
        Assert.Equal("1", Render(Repeat("{% for a in [1] %}{% if a %}{% set q = a %}{% endif %}", 150) + "{{ q }}" + Repeat("{% endfor %}", 150)));
    }

    [Fact]
    public void Limits_are_those_that_were_given()
    {
        TemplateLimits limits = new() { MaxSteps = 100, MaxOutputChars = 50, MaxRecursion = 3, MaxNesting = 10, MaxSourceChars = 200 };
        Assert.Equal("the template needs more than 100 steps", Error("{% for i in range(60) %}{{ i }}{% endfor %}", limits));
        Assert.Equal("a string is longer than 50 characters", Error("{{ 'ab' * 26 }}", limits));
        Assert.Equal("a string is longer than 50 characters", Error("{{ 'ab' * 25 }}c", limits));
        Assert.Equal("macros and recursive loops are nested more than 3 deep", Error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", limits));
        Assert.Equal("the template nests expressions or blocks more than 10 deep", Error("{{ (((((((((((1))))))))))) }}", limits));
        Assert.Equal("the template has 201 characters, more than 200", Error(Repeat("x", 201), limits));
    }

    [Fact]
    public void Zeros_with_separators_cost_no_more_than_their_width()
    {
        // Against one zero after the other, as the language says it.
        for (int width = 0; width < 40; width++)
        {
            foreach (string number in (string[])["7", "1234", "123456", "9876543210"])
            {
                string digits = number;
                while (digits.Length + (digits.Length - 1) / 3 < width)
                    digits = "0" + digits;
                string expected = string.Join(',', digits.Reverse().Chunk(3).Reverse().Select(group => new string([.. group.Reverse()])));
                Assert.Equal(expected, Render($"{{{{ '{{:0{width},}}'.format({number}) }}}}"));
            }
        }

        Assert.Equal(1_000_001, Render("{{ '{:01000000,}'.format(1) }}", Limits).Length);
    }

    // Not a theory: sources of 100,000 characters would fill the test report.
    private static void AllRefused(TheoryData<string, string, string> cases)
    {
        List<string> problems = [];
        foreach (object[] row in cases)
        {
            (string name, string source, string message) = ((string)row[0], (string)row[1], (string)row[2]);
            string error = Error(source, Limits);
            if (!error.Contains(message, StringComparison.Ordinal) || error.Contains('\n') || error.Length > 200)
                problems.Add($"{name}: {error}");
        }
        Assert.Empty(problems);
    }

    private static string Error(string source, TemplateLimits limits) => Assert.Throws<TemplateException>(() => Render(source, limits)).Message;

    /// <summary>Renders on a thread with little stack; an overflow would end the test run.</summary>
    private static string Render(string source, TemplateLimits? limits = null)
    {
        string text = "";
        ExceptionDispatchInfo? failure = null;
        Thread thread = new(Run, StackBytes);
        thread.Start();
        thread.Join();
        failure?.Throw();
        return text;

        void Run()
        {
            try
            {
                text = ChatTemplate.Parse(source, limits).Render(new TemplateContext());
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        }
    }

    private static string Repeat(string text, int times) => string.Concat(Enumerable.Repeat(text, times));
}
