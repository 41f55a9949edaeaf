using System.Globalization;
using InferenceService.Fuzz.Coverage;
using InferenceService.Fuzz.Loop;
using InferenceService.Fuzz.Targets;

namespace InferenceService.Fuzz;

/// <summary>The command line: <c>list</c>, <c>run</c>, <c>replay</c>, <c>keep</c>.</summary>
internal static class Program
{
    private const int StackBytes = 1 << 20;

    private const string Usage =
        """
        list                              names of the targets
        run TARGET|all [options]          change inputs and read them
          --inputs N --seconds N          stop at whichever comes first (10000000, 1800)
          --seed N                        of the random numbers (1)
          --output FOLDER                 corpus, findings, input at hand (artifacts/fuzz)
          --plain                         without coverage
        replay TARGET FILE...             read inputs and show what happens
        keep TARGET|all [--output FOLDER] put the smallest inputs that reach all that a run's corpus reached into tests/golden/fuzz
        """;

    private static int Main(string[] arguments)
    {
        if (arguments is [] or ["--help"])
            return Say(Usage, 0);
        if (arguments is ["list"])
            return Say(string.Join('\n', TargetList.All.Keys), 0);
        if (arguments is not [("run" or "replay" or "keep") and var command, var name, ..] || (name != "all" && !TargetList.All.ContainsKey(name)))
            return Say(Usage, 2);
        var options = new Options(arguments[2..]);
        string countFile = Path.Combine(AppContext.BaseDirectory, Instrumenter.CountFile);
        bool instrumented = File.Exists(countFile);
        if (!instrumented && !options.Has("--plain") && command != "replay")
            return Instrumented.Run(arguments);
        int blocks = instrumented ? int.Parse(File.ReadAllText(countFile), CultureInfo.InvariantCulture) : 0, code = 0;
        // A small stack, so that nesting which no limit stops is found sooner.
        var thread = new Thread(() => code = Run(command, name, options, blocks), StackBytes) { Name = "fuzz" };
        thread.Start();
        thread.Join();
        return code;
    }

    private static int Run(string command, string name, Options options, int blocks)
    {
        string golden = Path.Combine(Repository.Root, "tests", "golden");
        string output = options.Text("--output", Path.Combine(Repository.Root, "artifacts", "fuzz"));
        int findings = 0;
        foreach ((string target, Func<string, FuzzTarget> make) in TargetList.All)
        {
            if (name != "all" && name != target)
                continue;
            using FuzzTarget made = make(golden);
            var run = new RunOptions(
                options.Number("--inputs", 10_000_000), TimeSpan.FromSeconds(options.Number("--seconds", 1800)), (ulong)options.Number("--seed", 1), Path.Combine(golden, "fuzz"), output);
            findings += command switch
            {
                "replay" => Replay.Run(made, options.Rest),
                "keep" => Keeper.Run(made, run, blocks),
                _ => Fuzz(made, run, blocks),
            };
        }

        return findings == 0 ? 0 : 1;
    }

    private static int Fuzz(FuzzTarget target, RunOptions options, int blocks)
    {
        using var fuzzer = new Fuzzer(target, options, blocks, Console.Out);
        fuzzer.Run();
        return fuzzer.Findings.Count;
    }

    internal static int Say(string text, int code)
    {
        Console.Out.WriteLine(text);
        return code;
    }
}
