using System.Text;
using System.Text.Json;
using InferenceService.Fuzz.Loop;
using InferenceService.Text.Templates;

namespace InferenceService.Fuzz.Targets.Text;

/// <summary>A chat template, and the JSON object of its variables: parsed, asked for its features, rendered under a small budget.</summary>
internal sealed class TemplateTarget(string golden) : FuzzTarget
{
    private const string Variables =
        """{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi <|im_end|> é"},{"role":"assistant","content":"x","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},{"role":"user","content":[{"type":"text","text":"t"}]}],"add_generation_prompt":true,"bos_token":"<s>","eos_token":"</s>","tools":null,"n":7,"f":2.5,"l":[3,1,2],"d":{"b":1,"a":[1]},"s":"Hello, World"}""";

    private static readonly TemplateLimits Limits = new() { MaxSteps = 20_000, MaxOutputChars = 1 << 16 };
    private static readonly Clock Fixed = new();

    public override string Name => "template";

    public override int MaxBytes => 12_288;

    public override IReadOnlyList<string> Words =>
    [
        "{{", "}}", "{%", "%}", "{%-", "-%}", "{#", "#}", "{{-", "-}}", "{% if ", "{% elif ", "{% else %}", "{% endif %}", "{% for ", " in ", "{% endfor %}", "{% set ", "{% endset %}", "{% macro m(a, b=1) %}",
        "{% endmacro %}", "{% call m() %}", "{% endcall %}", "{% filter ", "{% endfilter %}", "{% generation %}", "{% endgeneration %}", "{% break %}", "{% continue %}", "{% raw %}", "{% endraw %}", "recursive", "loop",
        "loop.index", "loop.previtem", "loop.cycle", "caller", "varargs", "kwargs", "namespace", "range", "dict", "cycler", "joiner", "raise_exception", "strftime_now", "messages", "message", "'", "\"", "not ", " is ", " and ",
        " or ", " if ", " else ", "|", "~", "**", "//", "%", "==", "!=", "<=", ">=", "[", "]", "(", ")", "{", "}", ",", ":", ".", "none", "true", "false", "10**9", "'a' * 10**6", "1e308", "0x1F", "\\x41", "\\N{", "%s", "%d", "%*d",
        "{:>9}", "{0.a}", "__class__", "format", "upper", "lower", "capitalize", "title", "trim", "replace", "indent", "center", "truncate", "wordcount", "join", "tojson", "pprint", "urlencode", "xmlattr", "filesizeformat",
        "escape", "int", "float", "abs", "round", "sum", "min", "max", "sort", "dictsort", "unique", "groupby", "reverse", "length", "list", "items", "first", "last", "batch", "slice", "default", "attr", "map", "select", "reject",
        "selectattr", "rejectattr", "random", "striptags", "wordwrap", "defined", "undefined", "mapping", "sequence", "iterable", "divisibleby", "sameas", "split", "rsplit", "splitlines", "strip", "lstrip", "startswith", "endswith",
        "find", "count", "zfill", "expandtabs", "partition", "removeprefix", "casefold", "swapcase", "translate", "encode", "keys", "values", "get", "update", "pop", "append", "isdigit", "isalpha", "istitle",
    ];

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (string file in Directory.GetFiles(Path.Combine(golden, "chat-templates", "templates"), "*.jinja").Order(StringComparer.Ordinal))
            yield return Sections.Join(File.ReadAllText(file), Variables);
        string context = "";
        foreach (string line in File.ReadLines(Path.Combine(golden, "template-features", "cases.jsonl")))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            if (document.RootElement.TryGetProperty("context", out JsonElement variables))
                context = variables.GetRawText();
            else
                yield return Sections.Join(document.RootElement.GetProperty("source").GetString()!, context);
        }
    }

    public override long MaxAllocated(int length) => (8L << 20) + (1024L * length);

    public override long MaxWork(int length) => 4_000_000 + (4_000L * length);

    public override bool Run(byte[] input)
    {
        (byte[] source, byte[] json) = Sections.Split(input);
        try
        {
            var template = ChatTemplate.Parse(Encoding.UTF8.GetString(source), Limits);
            bool features = template.HandlesContentParts | template.RequiresContentParts | template.HandlesTools | template.SupportsSystemRole | template.HandlesDeveloperRole;
            string text = template.Render(Context(json));
            Require(text.Length <= Limits.MaxOutputChars, "a prompt longer than the limit");
            return features | true;
        }
        catch (TemplateException e)
        {
            if (!e.RaisedByTemplate)
                CheckMessage(e.Message, 1001);
            return false;
        }
    }

    private static TemplateContext Context(byte[] json)
    {
        var context = new TemplateContext { Time = Fixed };
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                foreach (JsonProperty variable in document.RootElement.EnumerateObject())
                    context.Set(variable.Name, Value.FromJson(variable.Value));
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Requests are checked before their values get here: no JSON, or half a surrogate pair in a name, is refused by RequestBody.
        }

        return context;
    }

    private sealed class Clock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);
    }
}
