using System.Globalization;
using System.Reflection;

namespace InferenceService.Server.Configuration;

/// <summary>One setting in force: its key, its text (secrets hidden) and where it comes from.</summary>
internal readonly record struct EffectiveSetting(string Key, string Value, string Source);

/// <summary>Binds option records to layers of settings, strictest first, and collects every problem instead of stopping at one.</summary>
/// <remarks>Reflection runs once, at start. A record's initialisers are its defaults.</remarks>
internal sealed class OptionsReader(IReadOnlyList<ConfigurationLayer> layers)
{
    private const int MaxEntries = 256;
    private readonly HashSet<string> _known = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>One line each.</summary>
    public List<string> Problems { get; } = [];

    /// <summary>Every setting of the records that were read.</summary>
    public List<EffectiveSetting> Effective { get; } = [];

    /// <summary>Reads a record and everything below it. Values that cannot be used keep their defaults and are reported.</summary>
    public object Read(Type type, string path)
    {
        object options = Activator.CreateInstance(type)!;
        foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance))
        {
            if (property.SetMethod is not null)
                ReadProperty(options, property, Join(path, property.Name));
        }

        return options;
    }

    /// <summary>Reports every key that no record asked for, with the nearest valid name.</summary>
    /// <param name="root">Record at the top.</param>
    /// <param name="foreign">Keys of sections that belong to the framework.</param>
    public void ReportUnknown(Type root, Func<string, bool> foreign)
    {
        foreach (ConfigurationLayer layer in layers)
        {
            foreach (string key in layer.Values.Keys.Order(StringComparer.OrdinalIgnoreCase))
            {
                if (!_known.Contains(key) && !foreign(key))
                    Problems.Add($"{layer.Spell(key)} is not a setting{Suggest(layer, root, key)}");
            }
        }
    }

    private void ReadProperty(object options, PropertyInfo property, string key)
    {
        Type type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        if (type == typeof(IReadOnlyDictionary<string, string>))
        {
            property.SetValue(options, ReadMap(property, key));
        }
        else if (ElementOf(type) is { } element)
        {
            object? list = element == typeof(string) ? ReadStrings(property, key) : ReadRecords(element, property, key);
            if (list is not null)
                property.SetValue(options, list);
            else if (element == typeof(string))
                Effective.Add(new EffectiveSetting(key, "", "default"));
        }
        else if (IsScalar(type))
        {
            ReadScalar(options, property, type, key);
        }
        else
        {
            property.SetValue(options, Read(type, key));
        }
    }

    private void ReadScalar(object options, PropertyInfo property, Type type, string key)
    {
        _known.Add(key);
        bool secret = property.GetCustomAttribute<SecretAttribute>() is not null;
        ConfigurationLayer? layer = LayerOf(key);
        if (layer is null)
        {
            Effective.Add(new EffectiveSetting(key, Show(property.GetValue(options), secret), "default"));
            return;
        }

        string text = layer.Values[key];
        if (SettingValue.Parse(text, type, property, out object? value) is { } problem)
        {
            Problems.Add($"{layer.Spell(key)}: {(secret ? "" : $"\"{Shorten(text)}\" ")}{problem}");
            return;
        }

        property.SetValue(options, value);
        Effective.Add(new EffectiveSetting(key, Show(value, secret), layer.Kind == LayerKind.File ? layer.Name : layer.Spell(key)));
    }

    // A list comes wholly from the strongest source that has any of it.
    private string[]? ReadStrings(PropertyInfo property, string key)
    {
        foreach (ConfigurationLayer layer in layers)
            MarkEntries(layer, key);
        ConfigurationLayer? source = StrongestWith(key);
        if (source is null)
            return null;
        string[] items = source.Values.TryGetValue(key, out string? joined)
            ? joined.Split([',', ';'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            : [.. Indices(source, key).Select(index => source.Values.GetValueOrDefault(Join(key, index), ""))];
        bool secret = property.GetCustomAttribute<SecretAttribute>() is not null;
        Effective.Add(new EffectiveSetting(key, secret ? "***" : string.Join(", ", items), source.Kind == LayerKind.File ? source.Name : source.Spell(key)));
        return items;
    }

    // Entries merge over the sources; an entry that is itself a list reads as its items joined with commas.
    private Dictionary<string, string> ReadMap(PropertyInfo property, string key)
    {
        var map = new Dictionary<string, string>(StringComparer.Ordinal);
        string prefix = key + ":";
        string? sibling = property.GetCustomAttribute<RefinesAttribute>() is { } refines ? prefix[..^(property.Name.Length + 1)] + refines.Sibling : null;
        string? inForce = sibling is null ? null : LayerOf(sibling)?.Values[sibling], sofar = null;
        var sources = new Dictionary<string, string>(StringComparer.Ordinal);
        for (int i = 0; i < layers.Count; i++)
        {
            string[] keys = [.. layers[i].Values.Keys.Where(k => k.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)).Order(StringComparer.OrdinalIgnoreCase)];
            _known.UnionWith(keys);
            if (sibling is not null)
                sofar = layers[i].Values.GetValueOrDefault(sibling) ?? sofar;
            foreach (IGrouping<string, string> entry in keys.GroupBy(k => k[prefix.Length..].Split(':')[0].ToLowerInvariant()))
            {
                if (sofar is not null && sofar != inForce)
                    continue;
                map[entry.Key] = string.Join(',', entry.Select(k => layers[i].Values[k]));
                sources[entry.Key] = layers[i].Kind == LayerKind.File ? layers[i].Name : layers[i].Spell(entry.First());
            }
        }

        if (map.Count > MaxEntries)
            Problems.Add($"{key} has {map.Count} entries (at most {MaxEntries})");
        foreach ((string name, string value) in map)
            Effective.Add(new EffectiveSetting(Join(key, name), value, sources[name]));
        if (map.Count == 0)
            Effective.Add(new EffectiveSetting(key, "", "default"));
        return map;
    }

    private Array? ReadRecords(Type element, PropertyInfo property, string key)
    {
        bool whole = property.GetCustomAttribute<ReplacedAsAWholeAttribute>() is not null;
        ConfigurationLayer? strongest = StrongestWith(key);
        if (strongest is null)
            return null;
        IReadOnlyList<ConfigurationLayer> from = whole ? [strongest] : layers;
        if (whole)
        {
            // What a stronger source replaces is still known.
            foreach (ConfigurationLayer layer in layers)
                _known.UnionWith(layer.Values.Keys.Where(k => k.StartsWith(key + ":", StringComparison.OrdinalIgnoreCase)));
        }

        string[] indices = [.. from.SelectMany(layer => Indices(layer, key)).Distinct().OrderBy(int.Parse)];
        if (indices.Length > MaxEntries)
        {
            Problems.Add($"{strongest.Spell(key)} has {indices.Length} entries (at most {MaxEntries})");
            return null;
        }

        PropertyInfo? scalar = element.GetProperties().FirstOrDefault(p => p.GetCustomAttribute<ScalarFormAttribute>() is not null);
        var reader = new OptionsReader(from);
        Array records = Array.CreateInstance(element, indices.Length);
        for (int i = 0; i < indices.Length; i++)
        {
            string path = Join(key, indices[i]);
            object record = reader.Read(element, path);
            if (scalar is not null && from[0].Values.TryGetValue(path, out string? text))
            {
                _known.Add(path);
                scalar.SetValue(record, text);
                int shown = reader.Effective.FindIndex(setting => setting.Key == Join(path, scalar.Name));
                reader.Effective[shown] = reader.Effective[shown] with { Value = "***", Source = strongest.Spell(path) };
            }

            records.SetValue(record, i);
        }

        _known.UnionWith(reader._known);
        Problems.AddRange(reader.Problems);
        Effective.AddRange(reader.Effective);
        return records;
    }

    private ConfigurationLayer? LayerOf(string key) => layers.LastOrDefault(layer => layer.Values.ContainsKey(key));

    private ConfigurationLayer? StrongestWith(string key) =>
        layers.LastOrDefault(layer => layer.Values.ContainsKey(key) || Indices(layer, key).Any());

    private void MarkEntries(ConfigurationLayer layer, string key)
    {
        _known.Add(key);
        foreach (string index in Indices(layer, key))
            _known.Add(Join(key, index));
    }

    private static IEnumerable<string> Indices(ConfigurationLayer layer, string key)
    {
        string prefix = key + ":";
        return layer.Values.Keys
            .Where(k => k.StartsWith(prefix, StringComparison.OrdinalIgnoreCase))
            .Select(k => k[prefix.Length..].Split(':')[0])
            .Where(segment => segment.Length is > 0 and < 6 && segment.All(char.IsAsciiDigit))
            .Distinct()
            .OrderBy(int.Parse);
    }

    // Walks the records as far as the key's segments are known, then looks for the nearest sibling of the first unknown one.
    private static string Suggest(ConfigurationLayer layer, Type root, string key)
    {
        Type type = root;
        string[] segments = key.Split(':');
        for (int i = 0; i < segments.Length; i++)
        {
            PropertyInfo[] properties = type.GetProperties(BindingFlags.Public | BindingFlags.Instance);
            PropertyInfo? property = properties.FirstOrDefault(p => p.Name.Equals(segments[i], StringComparison.OrdinalIgnoreCase));
            if (property is null)
            {
                string? nearest = NearestName.Of(segments[i], properties.Select(p => p.Name));
                return nearest is null ? "" : $"; did you mean {layer.Spell(string.Join(':', [.. segments[..i], nearest, .. segments[(i + 1)..]]))}?";
            }

            type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            if (type == typeof(IReadOnlyDictionary<string, string>))
                return ": it takes entries, not a value";
            if (ElementOf(type) is { } element)
            {
                type = element;
                i++;
            }

            if (IsScalar(type))
                return $": {string.Join(':', segments[..Math.Min(i + 1, segments.Length)])} takes a value, not a section";
        }

        return ": it is a section, not a value";
    }

    private static Type? ElementOf(Type type) =>
        type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>) ? type.GetGenericArguments()[0] : null;

    private static bool IsScalar(Type type) =>
        type == typeof(string) || type == typeof(bool) || type == typeof(int) || type == typeof(long) || type == typeof(double) || type == typeof(TimeSpan);

    private static string Join(string path, string name) => path.Length == 0 ? name : $"{path}:{name}";

    private static string Shorten(string text) => text.Length <= 64 ? text : text[..64] + "…";

    private static string Show(object? value, bool secret) => value switch
    {
        null => "",
        _ when secret => "***",
        TimeSpan span => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds}s"),
        bool flag => flag ? "true" : "false",
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };
}
