using System.Collections.Concurrent;

namespace InferenceService.Server.Hosting.Admin;

/// <summary>How much of what is logged, changed while the server runs. Gone with the process.</summary>
/// <param name="configuration">The host's, whose section <c>Logging</c> the log watches.</param>
internal sealed class LogLevels(IConfigurationRoot configuration)
{
    private const string Section = "Logging:LogLevel:";
    private const int MaxCategories = 64;
    private const int LongestCategory = 128;

    private readonly ConcurrentDictionary<string, LogLevel> _changed = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>The category of everything that no other one covers.</summary>
    public const string Default = "Default";

    /// <summary>Levels by category, configured ones and changed ones.</summary>
    public IEnumerable<KeyValuePair<string, string>> InForce => configuration.GetSection("Logging:LogLevel").GetChildren()
        .Where(entry => entry.Value is not null).Select(entry => KeyValuePair.Create(entry.Key, entry.Value!)).OrderBy(entry => entry.Key, StringComparer.Ordinal);

    /// <summary>Sets the level of a category; null, or why that cannot be.</summary>
    public string? Set(string category, LogLevel level)
    {
        if (category.Length is 0 or > LongestCategory || !category.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_'))
            return $"category must be {Default} or the beginning of a category's name: 1 to {LongestCategory} letters, digits, dots and underscores";
        if (category.Equals(AdminAudit.Category, StringComparison.OrdinalIgnoreCase))
            return $"category {AdminAudit.Category} cannot be changed";
        if (!_changed.ContainsKey(category) && _changed.Count >= MaxCategories)
            return $"category: at most {MaxCategories} can be changed";
        _changed[category] = level;
        configuration[Section + category] = level.ToString();
        configuration.Reload();
        return null;
    }
}
