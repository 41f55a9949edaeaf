using System.CommandLine;
using System.CommandLine.Invocation;
using System.ComponentModel;
using InferenceService.Benchmarks.Comparison;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Kernels;
using InferenceService.Benchmarks.Load;
using InferenceService.Benchmarks.Machine;
using InferenceService.Benchmarks.Policies;
using InferenceService.Benchmarks.Reliability;
using InferenceService.Benchmarks.Security;
using InferenceService.Benchmarks.Start;
using InferenceService.Benchmarks.Tokenization;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;

var root = new RootCommand("Benchmarks of InferenceService. Every result names machine and commit; --out appends it to a Markdown file.")
{
    RooflineCommand.Create(),
    MicroCommand.Create(),
    TokenizerCommand.Create(),
    EngineCommand.Create(),
    CompareCommand.Create(),
    StartCommand.Create(),
    LoadCommand.Create(),
    FloodCommand.Create(),
    SoakCommand.Create(),
    OverloadCommand.Create(),
    PrefixTimingCommand.Create(),
    QualityCommand.Create(),
    MemoryCommand.Create(),
    ThroughputCommand.Create(),
    StreamCommand.Create(),
    ControlCommand.Create(),
};
ParseResult parsed = root.Parse(args);
if (parsed.Action is ParseErrorAction wrong)
    (wrong.ShowHelp, wrong.ShowTypoCorrections) = (false, false);
try
{
    return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (Exception refusal) when (refusal is CheckpointException or KvPolicyException or InvalidOperationException or FormatException
    or PlatformNotSupportedException or HttpRequestException or IOException or UnauthorizedAccessException or Win32Exception)
{
    // What a user can mend: a folder without a model, another program that fails, instructions that this processor lacks.
    await Console.Error.WriteLineAsync(refusal.Message);
    return 1;
}
