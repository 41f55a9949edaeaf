using System.Reflection;
using System.Text;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Security;

/// <summary>
/// Reads a file of keys: one a line, <c>KEY [scope,scope] [setting=value …]</c> or the same with <c>sha256:HEX</c>; # starts a comment where a word could begin. Settings are
/// those of <see cref="KeyOptions"/> with dashes (<c>requests-per-minute=60</c>), lists with commas.
/// </summary>
internal static class ApiKeyFile
{
    private const int MaxFileBytes = 1 << 20;
    private const string Hash = "sha256:";

    private static readonly PropertyInfo[] Settings =
        [.. typeof(KeyOptions).GetProperties().Where(p => p.SetMethod is not null && p.Name is not (nameof(KeyOptions.Value) or nameof(KeyOptions.Sha256) or nameof(KeyOptions.Scopes)))];

    /// <summary>Adds the file's keys.</summary>
    /// <exception cref="InvalidDataException">It cannot be read or a line is malformed; the message shows no key.</exception>
    public static void Load(string path, ApiKeys keys)
    {
        string[] lines;
        try
        {
            if (new FileInfo(path) is { Exists: true, Length: > MaxFileBytes })
                throw new InvalidDataException($"--api-key-file: {path} is larger than 1 MiB");
            lines = File.ReadAllLines(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            bool missing = exception is FileNotFoundException or DirectoryNotFoundException;
            throw new InvalidDataException($"--api-key-file: {path} cannot be read ({(missing ? "no such file" : "access denied or not a file")})");
        }

        int before = keys.Count;
        for (int i = 0; i < lines.Length; i++)
        {
            // Inside a word # is an ordinary character: keys may hold it.
            string[] words = [.. lines[i].Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries).TakeWhile(word => word[0] != '#')];
            if (words.Length > 0 && AddLine(words, keys) is { } problem)
                throw new InvalidDataException($"--api-key-file: line {i + 1} of {path}: {problem}");
        }

        if (keys.Count == before)
            throw new InvalidDataException($"--api-key-file: {path} holds no key");
    }

    private static string? AddLine(string[] words, ApiKeys keys)
    {
        bool hashed = words[0].StartsWith(Hash, StringComparison.OrdinalIgnoreCase);
        var key = new KeyOptions
        {
            Value = hashed ? null : words[0],
            Sha256 = hashed ? words[0][Hash.Length..] : null,
            Scopes = [.. words.Skip(1).Where(word => !word.Contains('=')).SelectMany(word => word.Split(',', StringSplitOptions.RemoveEmptyEntries))],
        };
        // A word in the wrong place may be a key, so no message repeats one.
        if (key.Scopes.Any(scope => ApiScopes.Parse(scope) is null))
            return $"a scope is not one of {ApiScopes.Names}";
        if (hashed && KeyProblems.Of(key).Any())
            return "sha256: is followed by 64 hexadecimal digits";
        foreach (string word in words.Skip(1).Where(word => word.Contains('=')))
        {
            if (Set(key, word.Split('=', 2)) is { } wrong)
                return wrong;
        }

        if (KeyProblems.Of(key).FirstOrDefault() is { } problem)
            return problem;
        try
        {
            keys.Add(key);
            return null;
        }
        catch (InvalidDataException twice)
        {
            return twice.Message;
        }
    }

    private static string? Set(KeyOptions key, string[] setting)
    {
        PropertyInfo? property = Array.Find(Settings, candidate => Spell(candidate).Equals(setting[0], StringComparison.OrdinalIgnoreCase));
        if (property is null)
            return $"a setting is not one of {string.Join(", ", Settings.Select(Spell))}";
        if (property.PropertyType == typeof(IReadOnlyList<string>))
        {
            property.SetValue(key, setting[1].Split(',', StringSplitOptions.RemoveEmptyEntries));
            return null;
        }

        Type type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        if (SettingValue.Parse(setting[1], type, property, out object? value) is { } problem)
            return $"{Spell(property)}: its value {problem}";
        property.SetValue(key, value);
        return null;
    }

    /// <summary>RequestsPerMinute as requests-per-minute.</summary>
    private static string Spell(PropertyInfo property)
    {
        var text = new StringBuilder();
        foreach (char c in property.Name)
            text.Append(char.IsUpper(c) && text.Length > 0 ? "-" : "").Append(char.ToLowerInvariant(c));
        return text.ToString();
    }
}
