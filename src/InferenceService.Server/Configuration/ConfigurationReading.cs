namespace InferenceService.Server.Configuration;

/// <summary>The outcome of reading all sources: the options, or every problem with them.</summary>
internal sealed class ConfigurationReading
{
    private static readonly string[] FrameworkSections = ["Logging", "AllowedHosts"];

    /// <summary>The bound options; usable only without problems.</summary>
    public required ServerConfiguration Options { get; init; }

    /// <summary>One line each; the start fails when there is one.</summary>
    public required IReadOnlyList<string> Problems { get; init; }

    /// <summary>Worth a line in the log, no more.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>Every setting with its source.</summary>
    public required IReadOnlyList<EffectiveSetting> Effective { get; init; }

    /// <summary>Keys of the framework's sections, strongest value each.</summary>
    public required IReadOnlyDictionary<string, string?> Framework { get; init; }

    /// <summary>Reads files, environment and command line, binds and checks.</summary>
    /// <param name="commandLine">Flags.</param>
    /// <param name="environment">Variables of the process.</param>
    /// <param name="folder">Where <c>appsettings.json</c> lies.</param>
    public static ConfigurationReading Read(
        CommandLine commandLine, ProcessEnvironment environment, string folder)
    {
        var problems = new List<string>(commandLine.Problems);
        var layers = new List<ConfigurationLayer>();
        foreach (string file in (string[])["appsettings.json", $"appsettings.{environment.Name}.json"])
        {
            try
            {
                if (ConfigurationLayer.FromJsonFile(Path.Combine(folder, file)) is { } layer)
                    layers.Add(layer);
            }
            catch (InvalidDataException exception)
            {
                problems.Add(exception.Message);
            }
        }

        layers.Add(ConfigurationLayer.FromEnvironment(environment.Variables));
        layers.Add(commandLine.Layer);
        layers = layers.ConvertAll(layer => layer.WithPolicyFiles(problems));
        var reader = new OptionsReader(layers);
        var options = (ServerConfiguration)reader.Read(typeof(ServerConfiguration), "");
        reader.ReportUnknown(typeof(ServerConfiguration), IsFramework);
        problems.AddRange(reader.Problems);
        var warnings = new List<string>();
        ConfigurationRules.Check(options, environment, problems, warnings, layers);
        return new ConfigurationReading
        {
            Options = options,
            Problems = problems.ConvertAll(OneLine),
            Warnings = warnings.ConvertAll(OneLine),
            Effective = reader.Effective,
            Framework = FrameworkKeys(layers),
        };
    }

    /// <summary>What was written somewhere else cannot add lines, or colours, to a terminal.</summary>
    private static string OneLine(string text) => string.Concat(text.Select(c => char.IsControl(c) ? '?' : c));

    private static bool IsFramework(string key) =>
        FrameworkSections.Contains(key.Split(':')[0], StringComparer.OrdinalIgnoreCase);

    private static Dictionary<string, string?> FrameworkKeys(IEnumerable<ConfigurationLayer> layers)
    {
        var keys = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        foreach ((string key, string value) in layers.SelectMany(layer => layer.Values))
        {
            if (IsFramework(key))
                keys[key] = value;
        }

        return keys;
    }
}
