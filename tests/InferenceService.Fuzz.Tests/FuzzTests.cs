using System.Text;
using InferenceService.Fuzz.Loop;
using InferenceService.Fuzz.Targets;

namespace InferenceService.Fuzz.Tests;

/// <summary>Every reader of outside bytes, for a fixed number of inputs: the kept corpus, what was found before, and new ones from a fixed seed.</summary>
public sealed class FuzzTests
{
    private const ulong Seed = 20261121;
    private static readonly string Golden = Path.Combine(Repository.Root, "tests", "golden");

    /// <summary>Targets, and how many new inputs each can read in about half a second on a slow machine.</summary>
    public static TheoryData<string, int> Targets() => new()
    {
        { "safetensors", 3000 },
        { "packed-weights", 5000 },
        { "shard-index", 1000 },
        { "key-file", 1500 },
        { "kv-policy", 2000 },
        { "hub", 500 },
        { "completions", 1000 },
        { "chat", 1000 },
        { "tokenize", 800 },
        { "events", 800 },
        { "pipeline", 1000 },
        { "admin", 1000 },
        { "model-config", 1500 },
        { "encode", 500 },
        { "template", 300 },
        { "tokenizer", 200 },
        { "settings", 50 },
    };

    [Theory]
    [MemberData(nameof(Targets))]
    public void Readers_survive_the_kept_corpus_and_new_inputs(string name, int inputs)
    {
        using FuzzTarget target = TargetList.All[name](Golden);
        int starts = target.Seeds().Count() + Corpus.Kept(Path.Combine(Golden, "fuzz"), name).Count();
        using var fuzzer = new Fuzzer(target, new RunOptions(starts + inputs, TimeSpan.FromMinutes(10), Seed, Path.Combine(Golden, "fuzz"), Output: null), blocks: 0, TextWriter.Null);
        fuzzer.Run();
        Assert.Empty(fuzzer.Findings.Select(finding => $"{finding.Fault}\ninput: {Convert.ToBase64String(finding.Input)}"));
        Assert.Equal(starts + inputs, fuzzer.Inputs);
        Assert.InRange(fuzzer.Accepted, 1, fuzzer.Inputs);
    }

    [Theory]
    [MemberData(nameof(Found))]
    public void What_was_found_stays_fixed(string name, string file)
    {
        using FuzzTarget target = TargetList.All[name](Golden);
        byte[] input = File.ReadAllBytes(Path.Combine(Golden, "fuzz", name, file));
        Assert.Null(new Trial(target).Run(input, out _));
    }

    [Fact]
    public void Every_target_is_run_here()
    {
        Assert.Equal(TargetList.All.Keys.Order(StringComparer.Ordinal), Targets().Select(row => (string)row[0]).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_same_seed_makes_the_same_inputs()
    {
        Assert.Equal(Some(1), Some(1));
        Assert.NotEqual(Some(1), Some(2));

        static List<string> Some(ulong seed)
        {
            var target = new Recorder();
            using var fuzzer = new Fuzzer(target, new RunOptions(200, TimeSpan.FromMinutes(1), seed, Golden, Output: null), blocks: 0, TextWriter.Null);
            fuzzer.Run();
            return target.Seen;
        }
    }

    [Fact]
    public void A_fault_is_found_once_and_its_input_is_kept()
    {
        string output = Directory.CreateTempSubdirectory("inference-fuzz-").FullName;
        try
        {
            var log = new StringWriter();
            var target = new Recorder { Breaks = true };
            using var fuzzer = new Fuzzer(target, new RunOptions(500, TimeSpan.FromMinutes(1), 1, Golden, output), blocks: 0, log);
            fuzzer.Run();
            Finding finding = Assert.Single(fuzzer.Findings);
            Assert.IsType<InvalidOperationException>(finding.Fault);
            Assert.Equal(finding.Input, File.ReadAllBytes(finding.File!));
            Assert.Contains($"replay recorder {finding.File}", log.ToString(), StringComparison.Ordinal);
            Assert.NotNull(new Trial(target).Run(finding.Input, out _));
        }
        finally
        {
            Directory.Delete(output, recursive: true);
        }
    }

    [Fact]
    public void An_input_that_makes_its_reader_allocate_too_much_is_a_fault()
    {
        Exception? fault = new Trial(new Recorder { Allocates = 1 << 20 }).Run([1], out _);
        Assert.Contains("made it allocate", fault!.Message, StringComparison.Ordinal);
        Assert.Null(new Trial(new Recorder { Allocates = 1 << 10 }).Run([1], out _));
    }

    public static TheoryData<string, string> Found()
    {
        var data = new TheoryData<string, string>();
        foreach (string name in TargetList.All.Keys)
        {
            foreach ((string file, _) in Corpus.Found(Path.Combine(Golden, "fuzz"), name))
                data.Add(name, file);
        }

        return data;
    }

    private sealed class Recorder : FuzzTarget
    {
        public List<string> Seen { get; } = [];

        public bool Breaks { get; init; }

        public int Allocates { get; init; }

        public override string Name => "recorder";

        public override IEnumerable<byte[]> Seeds() => ["""{"a":[1,2,{"b":"text"}]}"""u8.ToArray()];

        public override bool Run(byte[] input)
        {
            if (Allocates > 0)
                return new byte[Allocates].Length > 0;
            Seen.Add(Encoding.Latin1.GetString(input));
            return Breaks && input.Length > 60 ? throw new InvalidOperationException("broken") : true;
        }
    }
}
