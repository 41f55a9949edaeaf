using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Tests.Configuration;

/// <summary>
/// Writes docs/configuration-reference.md from what the server itself reads: the option records with their attributes, initialisers and
/// docstrings, and the table of flags.
/// </summary>
internal sealed partial class ConfigurationReference
{
    private readonly Dictionary<string, XElement> _summaries = XDocument.Load(Path.ChangeExtension(typeof(ServerConfiguration).Assembly.Location, ".xml"))
        .Descendants("member").ToDictionary(member => member.Attribute("name")!.Value, member => member.Element("summary") ?? new XElement("summary"));

    private readonly StringBuilder _page = new();

    /// <summary>The whole page.</summary>
    public static string Write() => new ConfigurationReference().Page();

    /// <summary>Every setting: its key with N in the place of an index, its property and the record's own defaults.</summary>
    public static IEnumerable<(string Key, PropertyInfo Property, object? Default)> Settings(Type record, string path = "")
    {
        object defaults = Activator.CreateInstance(record)!;
        foreach (PropertyInfo property in record.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.SetMethod is not null))
        {
            string key = path.Length == 0 ? property.Name : $"{path}:{property.Name}";
            if (RecordIn(property.PropertyType, out bool list) is not { } inner)
            {
                yield return (key, property, property.GetValue(defaults));
                continue;
            }

            foreach ((string, PropertyInfo, object?) setting in Settings(inner, list ? key + ":N" : key))
                yield return setting;
        }
    }

    private string Page()
    {
        _page.Append("""
            # Configuration reference

            Every setting there is, written by a test from the option records in `src/InferenceService.Server/Configuration` and from the table of flags:
            change those and run `just config-reference`. [configuration.md](configuration.md) says how sources are combined, how values are written, and what
            the settings that matter do. `--print-config` shows which are in force and where each comes from.

            `N` counts from 0. A flag that names a model's setting writes that of the first model. Variables are `INFERENCE__` and the key with `__` for `:`.


            """);
        foreach (IGrouping<Type, (string Key, PropertyInfo Property, object? Default)> section in Settings(typeof(ServerConfiguration)).GroupBy(setting => setting.Property.DeclaringType!))
            Section(section.Key, [.. section]);
        Commands();
        return _page.ToString();
    }

    private void Section(Type record, List<(string Key, PropertyInfo Property, object? Default)> settings)
    {
        string path = settings[0].Key[..^(settings[0].Property.Name.Length + 1)];
        _page.Append(CultureInfo.InvariantCulture, $"## {path}\n{About(record)}Record `{record.Name}`.\n\n");
        _page.Append("| Key, flag and variable | Type | Range | Default | Meaning |\n|---|---|---|---|---|\n");
        foreach ((string key, PropertyInfo property, object? value) in settings)
        {
            string text = Meaning($"P:{property.DeclaringType!.FullName}.{property.Name}");
            string flag = FlagOf(key, property) is { } found ? $"<br>`{found.Name}`" : "";
            string variable = ConfigurationLayer.EnvironmentPrefix + key.Replace(":", "__", StringComparison.Ordinal);
            string named = $"`{key}`{flag}<br>`{variable}{(IsList(property) ? "__N" : IsMap(property) ? "__NAME" : "")}`";
            _page.Append(CultureInfo.InvariantCulture, $"| {named} | {TypeOf(property)} | {RangeOf(property)} | {DefaultOf(property, value, text)} | {WithoutFacts(text)} |\n");
        }

        _page.Append('\n');
    }

    private void Commands()
    {
        _page.Append("## Commands\nInstead of serving.\n\n| Flag | Meaning |\n|---|---|\n");
        foreach ((string name, string description) in CommandLine.Parse([]).Commands)
            _page.Append(CultureInfo.InvariantCulture, $"| `{name}` | {Cell(description)} |\n");
        _page.Append("\n## Flags that are refused\nKnown from other servers.\n\n| Flag | Why |\n|---|---|\n");
        foreach (Flag flag in ServerFlags.All.Where(flag => flag.Kind == FlagKind.Refused))
            _page.Append(CultureInfo.InvariantCulture, $"| `{flag.Name}` | {Cell(flag.Help)} |\n");
    }

    /// <summary>A setting's key as flags write it: of the first entry of each list.</summary>
    public static string First(string key) => Index().Replace(key, ":0");

    // A key's flag writes the key itself, which stands in the place of its record.
    private static Flag? FlagOf(string key, PropertyInfo property) =>
        ServerFlags.ByKey(First(key)) is { } flag && (flag.Key == First(key) || property.GetCustomAttribute<ScalarFormAttribute>() is not null) ? flag : null;

    private string About(Type record)
    {
        string text = SectionName().Replace(Meaning($"T:{record.FullName}"), "");
        return text.Length == 0 ? "" : $"{Capital(text)} ";
    }

    private string Meaning(string member) => Spaces().Replace(Text(_summaries[member]), " ").Trim();

    private static string Text(XElement element) => string.Concat(element.Nodes().Select(node => node switch
    {
        XText text => text.Value,
        XElement { Name.LocalName: "see" } see => $"`{see.Attribute("cref")!.Value.Split('.')[^1]}`",
        XElement { Name.LocalName: "c" } code => $"`{code.Value}`",
        XElement other => Text(other),
        _ => "",
    }));

    private static string TypeOf(PropertyInfo property)
    {
        Type type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        string name = type switch
        {
            _ when property.GetCustomAttribute<OneOfAttribute>() is not null => "word",
            _ when type == typeof(bool) => "true or false",
            _ when type == typeof(int) || type == typeof(long) => "whole number",
            _ when type == typeof(double) => "number",
            _ when type == typeof(TimeSpan) => "time",
            _ when IsMap(property) => "map",
            _ when IsList(property) => "list",
            _ => "text",
        };
        return property.GetCustomAttribute<SecretAttribute>() is null ? name : name + ", secret";
    }

    private static string RangeOf(PropertyInfo property)
    {
        if (property.GetCustomAttribute<OneOfAttribute>() is { } words)
            return string.Join(", ", words.Allowed.Select(word => $"`{word}`"));
        if (property.GetCustomAttribute<AllowedValuesAttribute>() is { } values)
            return string.Join(", ", values.Values);
        if (property.GetCustomAttribute<SecondsAttribute>() is { } seconds)
            return string.Create(CultureInfo.InvariantCulture, $"{seconds.Minimum} s to {seconds.Maximum} s");
        return property.GetCustomAttribute<RangeAttribute>() is { } range
            ? string.Create(CultureInfo.InvariantCulture, $"{Number(range.Minimum)} to {Number(range.Maximum)}")
            : "";
    }

    // What a record leaves open is decided later, and then only its docstring can say how.
    private static string DefaultOf(PropertyInfo property, object? value, string text)
    {
        string words = DefaultWords().Match(text) is { Success: true } match ? Cell(match.Groups[1].Value) : "";
        if (value is null or "" || IsList(property) || IsMap(property))
            return words.Length == 0 ? "none" : words.StartsWith("null: ", StringComparison.Ordinal) ? words["null: ".Length..] : words;
        string shown = value switch
        {
            bool flag => flag ? "true" : "false",
            TimeSpan span => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds} s"),
            string word => $"`{word}`",
            _ => Number(value),
        };
        int more = words.IndexOf(": ", StringComparison.Ordinal);
        return more < 0 ? shown : shown + words[more..];
    }

    private static string Number(object value) => Convert.ToDouble(value, CultureInfo.InvariantCulture) switch
    {
        >= 1L << 40 and var number when number % (1L << 40) == 0 => string.Create(CultureInfo.InvariantCulture, $"{number / (1L << 40)} TiB"),
        >= 1 << 30 and var number when number % (1 << 30) == 0 => string.Create(CultureInfo.InvariantCulture, $"{number / (1 << 30)} GiB"),
        >= 1 << 21 and var number when number % (1 << 20) == 0 => string.Create(CultureInfo.InvariantCulture, $"{number / (1 << 20)} MiB"),
        var number => string.Create(CultureInfo.InvariantCulture, $"{number:#,0.####}"),
    };

    // Range and default have columns of their own; what else their sentence says stays.
    private static string WithoutFacts(string text) => Cell(Spaces().Replace(Facts().Replace(text, sentence =>
    {
        string rest = string.Join("; ", sentence.Value.TrimEnd('.').Split("; ").Where(part => !part.StartsWith("Range ", StringComparison.Ordinal) && !part.StartsWith("Default", StringComparison.OrdinalIgnoreCase)));
        return rest.Length == 0 ? "" : Capital(rest) + ".";
    }), " ").Trim());

    private static string Capital(string text) => char.ToUpperInvariant(text[0]) + text[1..];

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);

    private static bool IsList(PropertyInfo property) => property.PropertyType.IsGenericType && property.PropertyType.GetGenericTypeDefinition() == typeof(IReadOnlyList<>);

    private static bool IsMap(PropertyInfo property) => property.PropertyType == typeof(IReadOnlyDictionary<string, string>);

    private static Type? RecordIn(Type type, out bool list)
    {
        list = type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>);
        Type inner = list ? type.GetGenericArguments()[0] : type;
        return inner.Namespace == typeof(ServerConfiguration).Namespace ? inner : null;
    }

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    /// <summary>The sentence that states range and default.</summary>
    [GeneratedRegex(@"(?<=^|[.;] )(Range|Default)\b.*?(\.(?= [A-Z`]|$))")]
    private static partial Regex Facts();

    [GeneratedRegex(@"(?:^|[.;,] )[Dd]efault:? (.*?)(?:\.(?= [A-Z`]|$)|; )")]
    private static partial Regex DefaultWords();

    [GeneratedRegex(@"^(Section|Our keys of section) `[^`]+`[:;.]? ?")]
    private static partial Regex SectionName();

    [GeneratedRegex(":N(?=:|$)")]
    private static partial Regex Index();
}
