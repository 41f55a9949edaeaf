using System.CommandLine;
using System.Globalization;

namespace InferenceService.Benchmarks;

/// <summary>Values an option may have. A wrong one is one line that names it and what is allowed, and exit code 1.</summary>
internal static class OptionRules
{
    /// <summary>One of these words.</summary>
    public static void OneOf(Option<string> option, IReadOnlyList<string> allowed) => Check(option, allowed.Contains, $"one of {string.Join(", ", allowed)}");

    /// <summary>Each one of these words.</summary>
    public static void EachOneOf(Option<string[]> option, IReadOnlyList<string> allowed) => Check(option, allowed.Contains, $"one of {string.Join(", ", allowed)}");

    /// <summary>One of these values, in any case.</summary>
    public static void OneOf<T>(Option<T> option, params T[] allowed) where T : struct =>
        Parse(option, allowed.ToDictionary(value => value.ToString()!, StringComparer.OrdinalIgnoreCase));

    /// <summary>Each one of these words, in any case.</summary>
    public static void EachOf(Option<string[]> option, IReadOnlyList<string> allowed) =>
        Check(option, text => allowed.Contains(text, StringComparer.OrdinalIgnoreCase), $"one of {string.Join(", ", allowed)}");

    /// <summary>Each a text that <paramref name="allows"/> accepts.</summary>
    public static void EachOf(Option<string[]> option, Func<string, bool> allows, string what) => Check(option, allows, what);

    /// <summary>Whole numbers from 1.</summary>
    public static void AtLeastOne(params Option<int>[] options) => AtLeast(1, options);

    /// <summary>Whole numbers from a least one.</summary>
    public static void AtLeast(int least, params Option<int>[] options)
    {
        foreach (Option<int> option in options)
            Check(option, text => int.TryParse(text, out int number) && number >= least, $"a whole number of at least {least}");
    }

    /// <summary>Each a whole number from 1.</summary>
    public static void EachAtLeastOne(Option<int[]> option) => Check(option, text => int.TryParse(text, out int number) && number > 0, "whole numbers of at least 1");

    /// <summary>Numbers above 0.</summary>
    public static void Positive(params Option<double>[] options)
    {
        foreach (Option<double> option in options)
            Check(option, text => double.TryParse(text, CultureInfo.InvariantCulture, out double number) && number > 0, "a number above 0");
    }

    /// <summary>A file that exists.</summary>
    public static void File(Option option) => Check(option, System.IO.File.Exists, "a file that exists");

    /// <summary>A folder that exists.</summary>
    public static void Folder(Option option) => Check(option, Directory.Exists, "a folder that exists");

    private static void Parse<T>(Option<T> option, Dictionary<string, T> values)
    {
        option.HelpName = string.Join('|', values.Keys);
        option.CustomParser = result =>
        {
            string text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
            if (values.TryGetValue(text, out T? value))
                return value;
            result.AddError($"{option.Name} must be one of {string.Join(", ", values.Keys)}, got '{text}'.");
            return default;
        };
    }

    private static void Check(Option option, Func<string, bool> allows, string what)
    {
        option.Validators.Add(result =>
        {
            if (result.Tokens.FirstOrDefault(token => !allows(token.Value)) is { } wrong)
                result.AddError($"{option.Name} must be {what}, got '{wrong.Value}'.");
        });
    }
}
