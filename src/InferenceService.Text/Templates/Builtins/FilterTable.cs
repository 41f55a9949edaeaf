using System.Collections.Frozen;
using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>A filter: the right side of <c>|</c>.</summary>
internal delegate Value Filter(Interpreter interpreter, Value input, Arguments arguments);

/// <summary>All filters of Jinja2, and which file holds each. Those that make no sense in a prompt are refused by name.</summary>
internal static class FilterTable
{
    private static readonly FrozenDictionary<string, Filter> Table = new Dictionary<string, Filter>
    {
        ["upper"] = TextFilters.Method("upper"),
        ["lower"] = TextFilters.Method("lower"),
        ["capitalize"] = TextFilters.Method("capitalize"),
        ["title"] = TextFilters.Title,
        ["trim"] = TextFilters.Trim,
        ["string"] = TextFilters.String,
        ["replace"] = TextFilters.Replace,
        ["format"] = TextFilters.Format,
        ["indent"] = TextFilters.Indent,
        ["center"] = TextFilters.Center,
        ["truncate"] = TextFilters.Truncate,
        ["wordcount"] = TextFilters.WordCount,
        ["join"] = TextFilters.Join,
        ["tojson"] = OutputFilters.ToJson,
        ["pprint"] = OutputFilters.PrettyPrint,
        ["urlencode"] = OutputFilters.UrlEncode,
        ["xmlattr"] = OutputFilters.XmlAttributes,
        ["filesizeformat"] = OutputFilters.FileSize,
        ["safe"] = OutputFilters.Safe,
        ["escape"] = OutputFilters.Escape,
        ["e"] = OutputFilters.Escape,
        ["forceescape"] = OutputFilters.ForceEscape,
        ["int"] = NumberFilters.Int,
        ["float"] = NumberFilters.Float,
        ["abs"] = NumberFilters.Abs,
        ["round"] = NumberFilters.Round,
        ["sum"] = NumberFilters.Sum,
        ["min"] = (i, v, a) => OrderFilters.Extreme(i, v, a, "min"),
        ["max"] = (i, v, a) => OrderFilters.Extreme(i, v, a, "max"),
        ["sort"] = OrderFilters.Sort,
        ["dictsort"] = OrderFilters.DictSort,
        ["unique"] = OrderFilters.Unique,
        ["groupby"] = OrderFilters.GroupBy,
        ["reverse"] = OrderFilters.Reverse,
        ["length"] = ListFilters.Length,
        ["count"] = ListFilters.Length,
        ["list"] = ListFilters.List,
        ["items"] = ListFilters.Items,
        ["first"] = ListFilters.First,
        ["last"] = ListFilters.Last,
        ["batch"] = ListFilters.Batch,
        ["slice"] = ListFilters.Slice,
        ["default"] = ListFilters.Default,
        ["d"] = ListFilters.Default,
        ["attr"] = SelectFilters.Attribute,
        ["map"] = SelectFilters.Map,
        ["select"] = (i, v, a) => SelectFilters.Select(i, v, a, keep: true, byAttribute: false),
        ["reject"] = (i, v, a) => SelectFilters.Select(i, v, a, keep: false, byAttribute: false),
        ["selectattr"] = (i, v, a) => SelectFilters.Select(i, v, a, keep: true, byAttribute: true),
        ["rejectattr"] = (i, v, a) => SelectFilters.Select(i, v, a, keep: false, byAttribute: true),
        ["random"] = Refused("random", "a prompt must not be random"),
        ["striptags"] = Refused("striptags", "it is for HTML"),
        ["urlize"] = Refused("urlize", "it is for HTML"),
        ["wordwrap"] = Refused("wordwrap", "line widths mean nothing in a prompt"),
    }.ToFrozenDictionary();

    public static Filter? Find(string name) => Table.GetValueOrDefault(name);

    public static string Unknown(string name) => $"No filter named {PythonText.Quote(name)}.";

    private static Filter Refused(string name, string reason) =>
        (_, _, _) => throw new TemplateException($"the filter '{name}' is not available: {reason}");
}
