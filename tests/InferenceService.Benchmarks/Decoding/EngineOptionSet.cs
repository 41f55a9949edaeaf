using System.CommandLine;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>Options that say how matrices are held and multiplied, the same for every command that loads an engine.</summary>
internal sealed class EngineOptionSet
{
    private static readonly Dictionary<string, WeightFormat> Formats = new(StringComparer.Ordinal)
    {
        ["auto"] = WeightFormat.Stored,
        ["bf16"] = WeightFormat.BF16,
        ["int8"] = WeightFormat.Int8,
        ["int4"] = WeightFormat.Int4,
    };

    private static readonly Dictionary<string, KernelFamily?> Families = new(StringComparer.Ordinal)
    {
        ["auto"] = null,
        ["avx512"] = KernelFamily.Avx512,
        ["avx-vnni"] = KernelFamily.AvxVnni,
        ["avx2"] = KernelFamily.Avx2,
        ["portable"] = KernelFamily.Portable,
    };

    /// <summary>Options with their rules.</summary>
    public EngineOptionSet()
    {
        OptionRules.OneOf(Weights, [.. Formats.Keys]);
        OptionRules.OneOf(Kernels, [.. Families.Keys]);
        OptionRules.AtLeastOne(Threads);
    }

    /// <summary>Format.</summary>
    public Option<string> Weights { get; } = new("--weights") { Description = "How matrices are held: auto (as stored), bf16, int8 or int4.", DefaultValueFactory = _ => "auto" };

    /// <summary>Kernel family.</summary>
    public Option<string> Kernels { get; } = new("--kernels") { Description = "Instructions that multiply them: auto, avx512, avx-vnni, avx2 or portable.", DefaultValueFactory = _ => "auto" };

    /// <summary>Threads.</summary>
    public Option<int> Threads { get; } = new("--threads") { Description = "Worker threads.", DefaultValueFactory = _ => UsableCores.Count() };

    /// <summary>The format asked for.</summary>
    public WeightFormat Format(ParseResult parsed) => Formats[parsed.GetRequiredValue(Weights)];

    /// <summary>The family asked for; null = the fastest.</summary>
    public KernelFamily? Family(ParseResult parsed) => Families[parsed.GetRequiredValue(Kernels)];

    /// <summary>Words for all families.</summary>
    public static IReadOnlyCollection<string> FamilyWords => Families.Keys;

    /// <summary>The family of a word; null = the fastest.</summary>
    public static KernelFamily? Family(string word) => Families[word];

    /// <summary>Words for all formats.</summary>
    public static IReadOnlyCollection<string> FormatWords => Formats.Keys;

    /// <summary>The format of a word.</summary>
    public static WeightFormat Format(string word) => Formats[word];

    /// <summary>For titles.</summary>
    public static string Word(WeightFormat format, DType stored) =>
        format == WeightFormat.Stored ? $"{stored} weights as stored" : $"{Formats.First(pair => pair.Value == format).Key} weights";
}
