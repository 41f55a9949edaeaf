namespace InferenceService.Server.Security;

/// <summary>Reads a file of keys: one a line, <c>KEY [scope,scope]</c> or <c>sha256:HEX [scope,scope]</c>; # starts a comment.</summary>
internal static class ApiKeyFile
{
    private const int MaxKeyLength = 512;
    private const int MaxFileBytes = 1 << 20;

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
            string line = lines[i].Split('#')[0].Trim();
            if (line.Length > 0 && AddLine(line, keys) is { } problem)
                throw new InvalidDataException($"--api-key-file: line {i + 1} of {path}: {problem}");
        }

        if (keys.Count == before)
            throw new InvalidDataException($"--api-key-file: {path} holds no key");
    }

    /// <summary>Why this cannot be a key; null when it can.</summary>
    public static string? Problem(string key)
    {
        if (key.Length is 0 or > MaxKeyLength)
            return $"a key has 1 to {MaxKeyLength} characters";
        return key.All(c => c is > ' ' and < '\x7f') ? null : "a key consists of printable ASCII characters without spaces";
    }

    private static string? AddLine(string line, ApiKeys keys)
    {
        string[] parts = line.Split((char[])[' ', '\t'], 2, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string[] scopes = parts.Length == 1 ? [] : parts[1].Split([',', ' '], StringSplitOptions.RemoveEmptyEntries);
        if (scopes.FirstOrDefault(scope => ApiScopes.Parse(scope) is null) is not null)
            return $"a scope is not one of {ApiScopes.Names}";
        if (!parts[0].StartsWith("sha256:", StringComparison.OrdinalIgnoreCase))
        {
            if (Problem(parts[0]) is { } problem)
                return problem;
            keys.Add(parts[0], ApiScopes.Combine(scopes));
            return null;
        }

        string hash = parts[0]["sha256:".Length..];
        if (hash.Length != 64 || !hash.All(char.IsAsciiHexDigit))
            return "sha256: is followed by 64 hexadecimal digits";
        keys.AddHash(Convert.FromHexString(hash), ApiScopes.Combine(scopes));
        return null;
    }
}
