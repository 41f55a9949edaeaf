using System.Globalization;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>How long and how hard an overload is.</summary>
internal sealed record OverloadOptions
{
    /// <summary>Server program or library; null = the one built here.</summary>
    public string? Server { get; init; }

    /// <summary>Checkpoint folder or the name of an embedded model.</summary>
    public string Model { get; init; } = "storyteller";

    /// <summary>Times that both loads are measured, in turn.</summary>
    public int Rounds { get; init; } = 5;

    /// <summary>Seconds of saturation, measured.</summary>
    public double Saturated { get; init; } = 30;

    /// <summary>Seconds of overload, measured.</summary>
    public double Overloaded { get; init; } = 60;

    /// <summary>Seconds before each of them that do not count.</summary>
    public double Settle { get; init; } = 5;

    /// <summary>Offered load of the overload, as a multiple of what was served at saturation just before.</summary>
    public double Factor { get; init; } = 10;

    /// <summary>Prompt tokens of a request.</summary>
    public int PromptTokens { get; init; } = 256;

    /// <summary>Tokens to generate.</summary>
    public int OutputTokens { get; init; } = 384;

    /// <summary>An answer is good when its first token comes within so many seconds.</summary>
    public double FirstBound { get; init; } = 20;

    /// <summary>Sequences in a batch.</summary>
    public int MaxSeqs { get; init; } = 16;

    /// <summary>Choices that may wait; at least the batch and half of itself, so that saturation is never refused while it builds up.</summary>
    public int Queue { get; init; } = 32;

    /// <summary>Threads of the engine; null = the server's default.</summary>
    public int? Threads { get; init; }

    /// <summary>Goodput under overload over goodput at saturation, at least.</summary>
    public double LeastGoodput { get; init; } = 0.9;

    /// <summary>99 of 100 refusals come within so many seconds.</summary>
    public double RefusalBound { get; init; } = 0.1;

    /// <summary>By how much resident memory may rise, as a share of its mean.</summary>
    public double MaxRise { get; init; } = 0.03;

    /// <summary>Whether rates, times and memory are judged, too, or only that every request ended properly: short runs on a busy machine show nothing else.</summary>
    public bool JudgesFigures { get; init; } = true;

    /// <summary>Flags of the server.</summary>
    public string[] Flags =>
    [
        "--model", Model, "--served-model-name", SoakRun.ModelName, "--max-num-seqs", Text(MaxSeqs), "--max-num-queued-reqs", Text(Queue),
        .. Threads is { } threads ? (string[])["--threads", Text(threads)] : [],
    ];

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
