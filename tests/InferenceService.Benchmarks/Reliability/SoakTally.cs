namespace InferenceService.Benchmarks.Reliability;

/// <summary>What became of the requests of a soak, and a fair sample of the answers. Any thread.</summary>
/// <param name="sampleSize">Answers to keep.</param>
/// <param name="seed">Decides which.</param>
internal sealed class SoakTally(int sampleSize, int seed)
{
    private const int FaultsKept = 20;
    private readonly Lock _lock = new();
    private readonly Random _random = new(seed);
    private readonly int[] _ends = new int[Enum.GetValues<SoakEnd>().Length];
    private readonly SortedDictionary<string, int> _policies = new(StringComparer.Ordinal);
    private readonly List<string> _faults = [];
    private readonly List<(int Number, string Text)> _sample = [];

    /// <summary>Requests that ended.</summary>
    public int Total => _ends.Sum();

    /// <summary>The first wrong ends.</summary>
    public IReadOnlyList<string> Faults => _faults;

    /// <summary>Answers to compare, in the order of their requests.</summary>
    public IReadOnlyList<(int Number, string Text)> Sample => [.. _sample.OrderBy(one => one.Number)];

    /// <summary>Answers by policy.</summary>
    public IReadOnlyDictionary<string, int> Policies => _policies;

    /// <summary>Requests that ended so.</summary>
    public int Count(SoakEnd end) => _ends[(int)end];

    /// <summary>A request has ended.</summary>
    public void Add(int number, SoakRequest request, SoakOutcome outcome)
    {
        lock (_lock)
        {
            int seen = _ends[(int)outcome.End]++;
            if (outcome.End == SoakEnd.Wrong && _faults.Count < FaultsKept)
                _faults.Add($"request {number} ({request.Kind}, {request.Policy}, {(request.Stream ? "streamed" : "whole")}, {request.Choices} choices): {outcome.Text}");
            if (outcome.End != SoakEnd.Answered)
                return;
            _policies[request.Policy] = _policies.GetValueOrDefault(request.Policy) + 1;
            // Reservoir sampling: every answer has the same chance to be kept.
            if (_sample.Count < sampleSize)
                _sample.Add((number, outcome.Text!));
            else if (_random.Next(seen + 1) is int at && at < sampleSize)
                _sample[at] = (number, outcome.Text!);
        }
    }
}
