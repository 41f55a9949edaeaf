using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;
using InferenceService.Server.Telemetry;
using Microsoft.Extensions.Logging.Abstractions;

namespace InferenceService.Server.Tests.Generation;

/// <summary>A <see cref="TextGeneration"/> over scripted streams, with the tiny model's tokenizer.</summary>
internal sealed class GenerationSetup(ServedModel model, TimeProvider? time = null)
{
    public string[] Stops { get; init; } = [];
    public bool IncludeStop { get; init; }
    public int MinTokens { get; init; }
    public bool KeepTokens { get; init; }
    public int Choices { get; init; } = 1;
    public PromptEcho? Echo { get; init; }

    public TextGeneration Start(params ScriptedStream[] streams) =>
        new(model, Order(streams.Length), streams, new ModelMetrics(model, Time), Time, NullLogger.Instance, "req_1");

    public GenerationOrder Order(int prompts) => new()
    {
        Prompts = [.. Enumerable.Range(0, prompts).Select(_ => new Prompt([.. PromptIds], null))],
        Requests = [.. Enumerable.Range(0, prompts).Select(_ => new GenerationRequest { PromptTokens = PromptIds, Sampling = new SamplingParams(), MaxTokens = 100 })],
        ChoicesPerPrompt = Choices,
        Text = new TextOptions(new StopSequences(Stops), IncludeStop, SkipSpecialTokens: true, MinTokens, KeepTokens),
        Echoes = Echo is null ? null : [.. Enumerable.Repeat(Echo, prompts)],
    };

    private static int[] PromptIds { get; } = [0, TinyModel.FirstByteId + 'A'];

    private TimeProvider Time { get; } = time ?? TimeProvider.System;
}
