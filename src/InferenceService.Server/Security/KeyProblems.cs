using InferenceService.Engine.Cache.Policies;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Security;

/// <summary>What is wrong with a key's settings, wherever they stand. No message shows a key.</summary>
internal static class KeyProblems
{
    private const int MaxKeyLength = 512;
    private const int MaxNameLength = 64;

    /// <summary>One line each.</summary>
    public static IEnumerable<string> Of(KeyOptions key)
    {
        if (key.Value is null == key.Sha256 is null)
            yield return "give either Value or Sha256";
        if (key.Value is { } value && OfText(value) is { } problem)
            yield return problem;
        if (key.Sha256 is { } hash && (hash.Length != 64 || !hash.All(char.IsAsciiHexDigit)))
            yield return "Sha256 is not 64 hexadecimal digits";
        foreach (string scope in key.Scopes)
        {
            if (ApiScopes.Parse(scope) is null)
                yield return $"scope \"{scope}\" is not one of {ApiScopes.Names}";
        }

        if (key.Name is { } name && (name.Length is 0 or > MaxNameLength || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-')))
            yield return $"a name has 1 to {MaxNameLength} letters, digits, dots, dashes and underscores";
        foreach (string policy in key.KvPolicies)
        {
            if (KvPolicyRegistry.Find(policy) is null)
                yield return $"a KV policy is not one of {string.Join(", ", KvPolicyRegistry.Names)}{NearestName.Hint(policy, KvPolicyRegistry.Names)}";
        }
    }

    /// <summary>Why this cannot be a key; null when it can.</summary>
    public static string? OfText(string key)
    {
        if (key.Length is 0 or > MaxKeyLength)
            return $"a key has 1 to {MaxKeyLength} characters";
        return key.All(c => c is > ' ' and < '\x7f') ? null : "a key consists of printable ASCII characters without spaces";
    }
}
