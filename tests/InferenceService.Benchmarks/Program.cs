using System.CommandLine;
using InferenceService.Benchmarks.Decoding;
using InferenceService.Benchmarks.Load;
using InferenceService.Benchmarks.Machine;
using InferenceService.Benchmarks.Tokenization;

var root = new RootCommand("Benchmarks of InferenceService. Every result names machine and commit; --out appends it to a Markdown file.")
{
    RooflineCommand.Create(),
    TokenizerCommand.Create(),
    DecoderCommand.Create(),
    LoadCommand.Create(),
    OverloadCommand.Create(),
};
return await root.Parse(args).InvokeAsync();
