using System.Globalization;

namespace InferenceService.Fuzz;

/// <summary>Options <c>--name value</c> and switches <c>--name</c>; what is left are files.</summary>
internal sealed class Options(string[] arguments)
{
    /// <summary>Arguments that are no options.</summary>
    public IReadOnlyList<string> Rest { get; } = [.. arguments.TakeWhile(argument => !argument.StartsWith("--", StringComparison.Ordinal))];

    /// <summary>A switch is there.</summary>
    public bool Has(string name) => arguments.Contains(name);

    /// <summary>An option's value.</summary>
    public string Text(string name, string absent) => Array.IndexOf(arguments, name) is var at and >= 0 && at + 1 < arguments.Length ? arguments[at + 1] : absent;

    /// <summary>An option's number.</summary>
    public long Number(string name, long absent) => long.Parse(Text(name, absent.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
}
