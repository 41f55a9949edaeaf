using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using InferenceService.Fuzz.Coverage;
using InferenceService.Fuzz.Mutation;

namespace InferenceService.Fuzz.Loop;

/// <summary>When a run ends, and where its files are.</summary>
/// <param name="Inputs">Most inputs.</param>
/// <param name="Time">Longest duration.</param>
/// <param name="Seed">Of the random numbers.</param>
/// <param name="Golden">Folder with the kept inputs of all targets.</param>
/// <param name="Output">Folder for corpus, findings and the input at hand; null = nothing is written.</param>
internal sealed record RunOptions(long Inputs, TimeSpan Time, ulong Seed, string Golden, string? Output);

/// <summary>Something that an input did and must not do.</summary>
/// <param name="Fault">What.</param>
/// <param name="Input">The input.</param>
/// <param name="File">Where it was written; null = nowhere.</param>
internal sealed record Finding(Exception Fault, byte[] Input, string? File);

/// <summary>Changes inputs of a corpus, runs them, keeps those that reach new code, and reports what fails.</summary>
internal sealed class Fuzzer : IDisposable
{
    private const int MaxFindings = 50, HangExitCode = 3, MaxWatches = 24;
    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(30), Hang = TimeSpan.FromSeconds(20);

    private readonly FuzzTarget _target;
    private readonly RunOptions _options;
    private readonly TextWriter _log;
    private readonly CoverageMap _coverage;
    private readonly Chance _chance;
    private readonly Mutator _mutator;
    private readonly Trial _trial;
    private readonly Corpus _corpus = new();
    private readonly Dictionary<string, Finding> _findings = new(StringComparer.Ordinal);
    private readonly InputRecord? _record;
    private readonly Stopwatch _clock = new();
    private readonly TimeSpan _cpu = Environment.CpuUsage.TotalTime;
    private byte[] _current = [];
    private long _inputs, _accepted, _watched;
    private TimeSpan _watchedSince;
    private int _watches;

    public Fuzzer(FuzzTarget target, RunOptions options, int blocks, TextWriter log)
    {
        (_target, _options, _log) = (target, options, log);
        _coverage = new CoverageMap(blocks);
        _chance = new Chance(options.Seed);
        _mutator = new Mutator(target, _chance);
        _trial = new Trial(target);
        if (Folder is { } folder)
        {
            Directory.CreateDirectory(folder);
            _record = new InputRecord(Path.Combine(folder, "current.bin"), target.MaxBytes * 4);
        }
    }

    /// <summary>Inputs run.</summary>
    public long Inputs => _inputs;

    /// <summary>Inputs that were not refused.</summary>
    public long Accepted => _accepted;

    /// <summary>What went wrong, each place once.</summary>
    public IReadOnlyCollection<Finding> Findings => _findings.Values;

    /// <summary>The inputs that reached something.</summary>
    public IReadOnlyList<byte[]> Corpus => _corpus.Inputs;

    private string? Folder => _options.Output is { } output ? Path.Combine(output, _target.Name) : null;

    /// <summary>Runs until the options say stop.</summary>
    public void Run()
    {
        _clock.Start();
        using var watchdog = new Timer(_ => Watch(), null, Hang / 4, Hang / 4);
        foreach (byte[] input in Starts())
        {
            if (input.Length > _target.MaxBytes)
                throw new InvalidOperationException($"{_target.Name}: an input to begin with has {input.Length} bytes; MaxBytes is {_target.MaxBytes}");
            Try(input);
            if (_corpus.Add(input, _trial.Work))
                _mutator.Learn(input);
        }

        TimeSpan report = ReportEvery;
        while (_inputs < _options.Inputs && _clock.Elapsed < _options.Time && _findings.Count < MaxFindings)
        {
            byte[] input = _mutator.Change(_corpus.Pick(_chance), _corpus.Pick(_chance));
            if (Try(input) > 0 && _corpus.Add(input, _trial.Work))
                _mutator.Learn(input);
            if (_clock.Elapsed < report)
                continue;
            report = _clock.Elapsed + ReportEvery;
            Report("");
            Save();
        }

        Report(" end");
        Save();
    }

    /// <inheritdoc/>
    public void Dispose() => _record?.Dispose();

    private IEnumerable<byte[]> Starts()
    {
        IEnumerable<byte[]> starts = _target.Seeds().Concat(Loop.Corpus.Kept(_options.Golden, _target.Name));
        return Folder is { } folder ? starts.Concat(Loop.Corpus.Lines(Loop.Corpus.FileIn(folder)).ToArray()) : starts;
    }

    /// <summary>New coverage of one input.</summary>
    private int Try(byte[] input)
    {
        _current = input;
        _record?.Set(input);
        BlockCounts.Clear(_coverage.Blocks);
        Exception? fault = _trial.Run(input, out bool accepted);
        _inputs++;
        if (accepted)
            _accepted++;
        if (fault is not null)
            Find(fault, input);
        return _coverage.TakeNew();
    }

    private void Find(Exception fault, byte[] input)
    {
        string place = Trial.Place(fault);
        if (_findings.ContainsKey(place))
            return;
        string? file = Write(input);
        _findings[place] = new Finding(fault, input, file);
        _log.WriteLine($"{_target.Name}: FINDING {fault.GetType().Name}: {fault.Message.ReplaceLineEndings(" ")}");
        _log.WriteLine($"  {place}");
        if (file is not null)
            _log.WriteLine($"  dotnet run -c Release --project tests/InferenceService.Fuzz -- replay {_target.Name} {file}");
    }

    private string? Write(byte[] input)
    {
        if (Folder is not { } folder)
            return null;
        string file = Path.Combine(folder, $"found-{Convert.ToHexStringLower(SHA256.HashData(input)[..6])}.bin");
        File.WriteAllBytes(file, input);
        return file;
    }

    /// <summary>An input that does not come back ends the process: nothing else can. It counts what the processor did for it, and for one that only waits
    /// how often it was still there: the clock passes while a machine is halted, these do not.</summary>
    private void Watch()
    {
        TimeSpan now = Environment.CpuUsage.TotalTime;
        long running = _trial.Running;
        if (running < 0 || running != _watched)
        {
            (_watched, _watchedSince, _watches) = (running, now, 0);
            return;
        }

        if (now - _watchedSince < Hang && ++_watches < MaxWatches)
            return;
        string? file = Write(_current);
        _log.WriteLine($"{_target.Name}: HANG, {(now - _watchedSince).TotalSeconds:0} s of processor: {file ?? Convert.ToHexString(_current)}");
        _log.Flush();
        Environment.Exit(HangExitCode);
    }

    private void Save()
    {
        if (Folder is { } folder)
            Loop.Corpus.Save(folder, _corpus.Inputs);
    }

    private void Report(string end)
    {
        double seconds = _clock.Elapsed.TotalSeconds;
        _log.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{_target.Name}:{end} {_inputs} inputs, {seconds:0} s, {_inputs / seconds:0}/s, {(Environment.CpuUsage.TotalTime - _cpu).TotalSeconds:0} s of processor, accepted {100.0 * _accepted / Math.Max(1, _inputs):0.0} %, corpus {_corpus.Inputs.Count}, blocks {_coverage.Reached} of {_coverage.Blocks}, findings {_findings.Count}, at most {100 * _trial.Most.Memory:0} % of memory and {100 * _trial.Most.Work:0} % of work allowed, resident {Environment.WorkingSet >> 20} MiB"));
        _log.Flush();
    }
}
