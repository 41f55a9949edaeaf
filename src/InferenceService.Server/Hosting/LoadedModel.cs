using InferenceService.Compute;
using InferenceService.Cuda;
using InferenceService.Engine;
using InferenceService.Engine.Faults;
using InferenceService.Engine.Sampling;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Devices;

namespace InferenceService.Server.Hosting;

/// <summary>
/// A served model together with what it stands on; disposes engine, backend and checkpoint in that order, each when the one before is done: an
/// engine that is in a step keeps what it computes with, however long that takes.
/// </summary>
internal sealed class LoadedModel : IAsyncDisposable
{
    private readonly IBackend _backend;
    private readonly Checkpoint _checkpoint;
    private readonly List<string> _warnings;

    private LoadedModel(ServedModel model, IBackend backend, Checkpoint checkpoint, List<string> warnings) =>
        (Model, _backend, _checkpoint, _warnings) = (model, backend, checkpoint, warnings);

    /// <summary>How its matrices are held, and what that lost.</summary>
    public WeightFacts Weights => Model.Engine.Model.Weights;

    /// <summary>What went wrong while loading, and did not matter.</summary>
    public IReadOnlyList<string> Warnings => _warnings;

    /// <summary>The model as the routes see it.</summary>
    public ServedModel Model { get; }

    /// <summary>Loads weights and starts the engine. Takes over the plan's checkpoint.</summary>
    /// <exception cref="CheckpointException">A weight cannot be used.</exception>
    /// <exception cref="CudaException">The GPU, or a library it needs, cannot be used.</exception>
    public static async Task<LoadedModel> LoadAsync(
        ModelPlan plan, ServerConfiguration configuration, ModelDevice device, IProgress<LoadProgress> progress, TimeProvider time, IFaultInjection faults, CancellationToken cancellationToken)
    {
        IBackend? backend = null;
        var warnings = new List<string>();
        InferenceEngine? engine = null;
        try
        {
            backend = device.NewBackend();
            var reports = new Cancellable(progress, cancellationToken);
            // The served length, not the checkpoint's, decides between long and short rotary factors.
            ModelConfig config = plan.Checkpoint.Config with { MaxPositions = plan.Memory.MaxModelLength };
            DecoderModel decoder = DecoderModel.Load(config, plan.Checkpoint, backend, plan.Layout, plan.Limits, reports, plan.WeightFormat, plan.NewPackedCache(warnings.Add));
            engine = NewEngine(decoder, plan, configuration, time, faults);
            var model = new ServedModel
            {
                Names = plan.Names,
                Tokenizer = plan.Tokenizer,
                ChatTemplate = plan.ChatTemplate,
                ChatTemplateDefaults = plan.Options.ChatTemplateKwargs,
                Defaults = plan.Defaults,
                Engine = engine,
                Created = time.GetUtcNow(),
                MaxModelLength = plan.Memory.MaxModelLength,
                OutputFacts = plan.OutputFacts,
                Policies = plan.Policies,
                Quantization = plan.Options.Quantization,
                Device = device.Kind,
            };
            return new LoadedModel(model, backend, plan.Checkpoint, warnings);
        }
        catch
        {
            if (engine is not null)
                await engine.DisposeAsync();
            backend?.Dispose();
            plan.Dispose();
            throw;
        }
    }

    /// <summary>Runs it once: one prompt token and one decode step touch every kernel and every page of the workspaces before the first client does.</summary>
    /// <exception cref="CheckpointException">The engine cannot take a step.</exception>
    public async Task WarmUpAsync(ModelDevice device, CancellationToken cancellationToken)
    {
        await TakeFirstStepsAsync(Model.Engine, cancellationToken);
        if (device.Recheck(_backend) is { } shortage)
            _warnings.Add(shortage);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Model.Engine.DisposeAsync();
        _backend.Dispose();
        _checkpoint.Dispose();
    }

    // The plan found room for it, and the system may refuse all the same: a limit of the process, or others that were faster.
    private static InferenceEngine NewEngine(DecoderModel decoder, ModelPlan plan, ServerConfiguration configuration, TimeProvider time, IFaultInjection faults)
    {
        try
        {
            return new InferenceEngine(decoder, plan.Policy, plan.EngineOptions(configuration.Engine, configuration.Admission) with { Faults = faults }, time);
        }
        catch (Exception refusal) when (refusal is InsufficientMemoryException or CudaException { Fault: CudaFault.Capacity })
        {
            string sums = plan.Memory.SumBytes == 0 ? "" : $" and {HumanValues.Bytes(plan.Memory.SumBytes)} of attention sums";
            throw new CheckpointException(
                $"{plan.Names[0]}: the system refused memory for a KV pool of {HumanValues.Bytes(plan.Memory.PoolBytes)}{sums} "
                + "(lower --kv-cache-memory-bytes, --gpu-memory-utilization, --max-num-seqs or --max-model-len, or leave fast-gen out of KvCache:AllowedPolicies): "
                + refusal.Message, refusal);
        }
    }

    private static async Task TakeFirstStepsAsync(InferenceEngine engine, CancellationToken cancellationToken)
    {
        var request = new GenerationRequest
        {
            PromptTokens = new[] { 0 },
            Sampling = new SamplingParams { Temperature = 0 },
            MaxTokens = Math.Min(2, engine.Options.MaxModelLength - 1),
            IgnoreEos = true,
        };
        if (request.MaxTokens < 1)
            return;
        SubmitResult result = engine.Submit(request);
        if (result.Stream is not { } stream)
            throw new CheckpointException($"The engine refused its first step: {result.Reason}");
        FinishReason finish = FinishReason.None;
        while (await stream.WaitToReadAsync(cancellationToken))
        {
            while (stream.TryRead(out GeneratedToken token))
                finish = token.Finish;
        }

        if (finish == FinishReason.Error)
            throw new CheckpointException($"The engine failed at its first step: {stream.Error}");
    }

    // Loading has no other way to be interrupted.
    private sealed class Cancellable(IProgress<LoadProgress> inner, CancellationToken cancellationToken) : IProgress<LoadProgress>
    {
        public void Report(LoadProgress value)
        {
            cancellationToken.ThrowIfCancellationRequested();
            inner.Report(value);
        }
    }
}
