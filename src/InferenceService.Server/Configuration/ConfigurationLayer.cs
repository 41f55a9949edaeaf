using System.Text.Json;

namespace InferenceService.Server.Configuration;

/// <summary>Kinds of source, weakest first.</summary>
internal enum LayerKind
{
    /// <summary>A JSON file beside the binary.</summary>
    File,

    /// <summary>Environment variables with our prefix.</summary>
    Environment,

    /// <summary>Flags.</summary>
    CommandLine,
}

/// <summary>One source of settings: flat keys (<c>Engine:BlockSize</c>, case ignored) and their text.</summary>
internal sealed class ConfigurationLayer(LayerKind kind, string name, IReadOnlyDictionary<string, string> values)
{
    private const string PolicyFileKey = "PolicyFile";

    /// <summary>Prefix of environment variables; a double underscore separates sections.</summary>
    public const string EnvironmentPrefix = "INFERENCE__";

    /// <summary>What it is.</summary>
    public LayerKind Kind { get; } = kind;

    /// <summary>File name, "environment" or "command line".</summary>
    public string Name { get; } = name;

    /// <summary>The settings.</summary>
    public IReadOnlyDictionary<string, string> Values { get; } = values;

    /// <summary>How the user wrote this key here: the flag, the variable, or the file and the key.</summary>
    public string Spell(string key) => Kind switch
    {
        LayerKind.CommandLine when Values.ContainsKey(PolicyFileOf(key)) => "--kv-policy-file",
        LayerKind.CommandLine => ServerFlags.ByKey(key)?.Name ?? "--host, --port",
        LayerKind.Environment => EnvironmentPrefix + key.Replace(":", "__", StringComparison.Ordinal),
        _ => $"{Name}: {key}",
    };

    /// <summary>The same with the policy files that it names read: each stands for the policy and the options in it.</summary>
    /// <param name="problems">Gets a line for each file that cannot be used.</param>
    public ConfigurationLayer WithPolicyFiles(List<string> problems)
    {
        string[] keys = [.. Values.Keys.Where(key => key.EndsWith(":KvCache:" + PolicyFileKey, StringComparison.OrdinalIgnoreCase))];
        if (keys.Length == 0)
            return this;
        var all = new Dictionary<string, string>(Values, StringComparer.OrdinalIgnoreCase);
        foreach (string key in keys)
        {
            string section = key[..^PolicyFileKey.Length];
            if (Values.ContainsKey(section + "Policy") || Values.Keys.Any(other => other.StartsWith(section + "PolicyOptions:", StringComparison.OrdinalIgnoreCase)))
                problems.Add(Kind == LayerKind.CommandLine ? "--kv-policy and --kv-policy-file exclude each other" : $"{Spell(key)} stands for Policy and PolicyOptions; leave these out");
            else if (PolicyFile.Read(Values[key], out PolicyFile? file) is { } problem)
                problems.Add($"{Spell(key)}: {problem}");
            else
                file!.AddTo(all, section);
        }

        return new ConfigurationLayer(Kind, Name, all);
    }

    private static string PolicyFileOf(string key)
    {
        int at = key.IndexOf(":KvCache:Policy", StringComparison.OrdinalIgnoreCase);
        return at < 0 ? "" : key[..at] + ":KvCache:" + PolicyFileKey;
    }

    /// <summary>It sets this key, or something below it.</summary>
    public bool Mentions(string key) =>
        Values.ContainsKey(key) || Values.Keys.Any(other => other.StartsWith(key + ":", StringComparison.OrdinalIgnoreCase));

    /// <summary>Settings of a JSON file; null when there is no such file.</summary>
    /// <exception cref="InvalidDataException">The file is not JSON.</exception>
    public static ConfigurationLayer? FromJsonFile(string path)
    {
        if (!File.Exists(path))
            return null;
        try
        {
            var values = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
            using FileStream stream = File.OpenRead(path);
            foreach ((string key, string? value) in new ConfigurationBuilder().AddJsonStream(stream).Build().AsEnumerable())
            {
                if (value is not null && !key.StartsWith('$'))
                    values[key] = value;
            }

            return new ConfigurationLayer(LayerKind.File, Path.GetFileName(path), values);
        }
        catch (Exception exception) when (exception is FormatException or JsonException or InvalidOperationException)
        {
            // The exception's own words quote the file, which may hold keys.
            string reason = (exception as JsonException ?? exception.InnerException as JsonException) is { } json
                ? $"valid JSON at line {json.LineNumber + 1}, byte {json.BytePositionInLine + 1}"
                : "an object of settings in valid Unicode, each there once";
            throw new InvalidDataException($"{Path.GetFileName(path)} is not {reason}");
        }
    }

    /// <summary>Settings among environment variables.</summary>
    public static ConfigurationLayer FromEnvironment(IEnumerable<KeyValuePair<string, string>> variables)
    {
        var values = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach ((string name, string value) in variables)
        {
            if (name.StartsWith(EnvironmentPrefix, StringComparison.OrdinalIgnoreCase) && value.Length > 0)
                values[name[EnvironmentPrefix.Length..].Replace("__", ":", StringComparison.Ordinal)] = value;
        }

        return new ConfigurationLayer(LayerKind.Environment, "environment", values);
    }
}
