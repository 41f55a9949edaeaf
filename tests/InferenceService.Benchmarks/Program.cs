using System.CommandLine;
using System.CommandLine.Invocation;
using InferenceService.Benchmarks.Comparison;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Kernels;
using InferenceService.Benchmarks.Load;
using InferenceService.Benchmarks.Machine;
using InferenceService.Benchmarks.Policies;
using InferenceService.Benchmarks.Start;
using InferenceService.Benchmarks.Tokenization;

var root = new RootCommand("Benchmarks of InferenceService. Every result names machine and commit; --out appends it to a Markdown file.")
{
    RooflineCommand.Create(),
    MicroCommand.Create(),
    TokenizerCommand.Create(),
    EngineCommand.Create(),
    CompareCommand.Create(),
    StartCommand.Create(),
    LoadCommand.Create(),
    OverloadCommand.Create(),
    QualityCommand.Create(),
    MemoryCommand.Create(),
    ThroughputCommand.Create(),
    StreamCommand.Create(),
    ControlCommand.Create(),
};
ParseResult parsed = root.Parse(args);
if (parsed.Action is ParseErrorAction wrong)
    (wrong.ShowHelp, wrong.ShowTypoCorrections) = (false, false);
return await parsed.InvokeAsync();
