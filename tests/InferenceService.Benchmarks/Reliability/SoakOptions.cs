using System.Globalization;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>How long and how hard a soak is.</summary>
internal sealed record SoakOptions
{
    /// <summary>Server program or library; null = the one built here.</summary>
    public string? Server { get; init; }

    /// <summary>Checkpoint folder or the name of an embedded model.</summary>
    public string Model { get; init; } = "storyteller";

    /// <summary>Requests in all; ignored with <see cref="Minutes"/>.</summary>
    public int Requests { get; init; } = 500;

    /// <summary>Time during which requests are sent.</summary>
    public double? Minutes { get; init; }

    /// <summary>Arrivals come so many times faster than in the trace.</summary>
    public double Speed { get; init; } = 8;

    /// <summary>Factor on the trace's prompts.</summary>
    public double PromptScale { get; init; } = 0.08;

    /// <summary>Factor on its answers: long ones beside short prompts outgrow the pool while they run.</summary>
    public double AnswerScale { get; init; } = 0.4;

    /// <summary>Requests in flight at most; those that are due later than that wait.</summary>
    public int InFlight { get; init; } = 40;

    /// <summary>Share of requests whose client leaves.</summary>
    public double Disconnects { get; init; } = 0.2;

    /// <summary>Share of requests that must be refused.</summary>
    public double Invalid { get; init; } = 0.08;

    /// <summary>Answers that are asked for again, alone.</summary>
    public int Sample { get; init; } = 200;

    /// <summary>Another seed, another soak.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Bytes of the KV pool: small, so that running sequences push each other out.</summary>
    public string PoolBytes { get; init; } = "4M";

    /// <summary>Sequences in a batch.</summary>
    public int MaxSeqs { get; init; } = 16;

    /// <summary>Threads of the engine; null = the server's default.</summary>
    public int? Threads { get; init; }

    /// <summary>Prompt and output together, as served.</summary>
    public int Context { get; init; } = 1024;

    /// <summary>From here on memory must be flat, as a share of the run.</summary>
    public double WarmUp { get; init; } = 1.0 / 3;

    /// <summary>By how much it may rise over the rest of the run, as a share of its mean.</summary>
    public double MaxRise { get; init; } = 0.03;

    /// <summary>Settings without a flag: every policy may be asked for, and little is swapped, so that sequences are computed again, too.</summary>
    public static IReadOnlyDictionary<string, string> Settings { get; } = new Dictionary<string, string>
    {
        ["INFERENCE__Models__0__KvCache__AllowedPolicies"] = "full,streaming-llm,sim-layer-kv,fast-gen",
        ["INFERENCE__Models__0__KvCache__SwapBytes"] = "2M",
        ["INFERENCE__Server__DrainDelay"] = "0",
    };

    /// <summary>Flags of the server that is loaded.</summary>
    public string[] LoadedFlags =>
    [
        .. Flags, "--kv-cache-memory-bytes", PoolBytes, "--max-num-seqs", Text(MaxSeqs), "--max-num-queued-reqs", Text(4 * MaxSeqs), "--max-num-batched-tokens", "256",
    ];

    /// <summary>Flags of the one that is asked again: one sequence at a time, no prefix cache, room for everything.</summary>
    public string[] AloneFlags => [.. Flags, "--max-num-seqs", "1", "--no-enable-prefix-caching"];

    private string[] Flags =>
    [
        "--model", Model, "--served-model-name", SoakRun.ModelName, "--kv-cache-dtype", "int4", "--max-model-len", Text(Context),
        .. Threads is { } threads ? (string[])["--threads", Text(threads)] : [],
    ];

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
