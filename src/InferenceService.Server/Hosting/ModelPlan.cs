using InferenceService.Compute;
using InferenceService.Engine;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;
using InferenceService.Models.Packed;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Devices;
using InferenceService.Text.Templates;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Hosting;

/// <summary>A checkpoint whose files have been opened and checked, and the sizes it will be served with. Nothing is loaded yet.</summary>
internal sealed class ModelPlan : IDisposable
{
    private const int MinLogitRows = 64;

    private static readonly string[] TokenizerFiles =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template", "additional_chat_templates", "there is no tokenizer.json"];

    /// <summary>Served names; the first is canonical.</summary>
    public required IReadOnlyList<string> Names { get; init; }

    /// <summary>The opened checkpoint.</summary>
    public required Checkpoint Checkpoint { get; init; }

    /// <summary>Its tokenizer.</summary>
    public required Tokenizer Tokenizer { get; init; }

    /// <summary>Its chat template; null when there is none.</summary>
    public required ChatTemplate? ChatTemplate { get; init; }

    /// <summary>The KV policy of requests that choose none.</summary>
    public IKvPolicy Policy => Policies.Default;

    /// <summary>Groups and lanes that the policy asks for.</summary>
    public required KvLayout Layout { get; init; }

    /// <summary>Workspace sizes.</summary>
    public required DecoderLimits Limits { get; init; }

    /// <summary>Tokens of a prompt chunk of a model whose layers read from above; 0 for others.</summary>
    public required int PromptChunk { get; init; }

    /// <summary>Element type of K and V.</summary>
    public required DType KvType { get; init; }

    /// <summary>Tokens a KV block.</summary>
    public required int BlockSize { get; init; }

    /// <summary>Element type of the weights as stored, or as named.</summary>
    public required DType WeightType { get; init; }

    /// <summary>Element type of the weights in the checkpoint.</summary>
    public required DType StoredType { get; init; }

    /// <summary>How matrices are held.</summary>
    public required WeightFormat WeightFormat { get; init; }

    /// <summary>Where the model runs: "cpu" or "cuda".</summary>
    public required string Device { get; init; }

    /// <summary>Where the memory goes.</summary>
    public required MemoryPlan Memory { get; init; }

    /// <summary>Sampling defaults in force.</summary>
    public required GenerationDefaults Defaults { get; init; }

    /// <summary>What tells this checkpoint's contents from another's.</summary>
    public required byte[] Revision { get; init; }

    /// <summary>Where its packed matrices are kept; null = nowhere.</summary>
    public required string? PackedCacheFolder { get; init; }

    /// <summary>Its folder.</summary>
    public required string Folder { get; init; }

    /// <summary>How the model was configured.</summary>
    public required ModelOptions Options { get; init; }

    /// <summary>Worth a warning at start.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>The KV policies that it can serve.</summary>
    public required PolicyMenu Policies { get; init; }

    /// <summary>What decides the output besides the request: server version, checkpoint, quantisation and types.</summary>
    public string OutputFacts =>
        $"{ServerVersion.Text}|{Convert.ToHexString(Revision)}|{WeightType}|{WeightFormat}|{KvType}|{Options.KvCache.PackedBits}|{PromptChunk}|{Device}";

    /// <summary>Opens and checks the files of one model.</summary>
    /// <param name="options">The model.</param>
    /// <param name="engine">Sizes of batch and cache; its device is one that was opened.</param>
    /// <param name="environment">Cache folder of the hub.</param>
    /// <param name="room">Memory this model may take.</param>
    /// <param name="poolBytes">Its share of an explicit pool size.</param>
    /// <exception cref="CheckpointException">The checkpoint cannot be served.</exception>
    /// <exception cref="TokenizerException">Its tokenizer cannot be used.</exception>
    /// <exception cref="InvalidDataException">A file that configuration names cannot be used.</exception>
    public static ModelPlan Open(ModelOptions options, EngineSection engine, ProcessEnvironment environment, DeviceRoom room, long? poolBytes)
    {
        ModelFolder folder = ModelFolder.Find(options.Source, environment.HubCache);
        var warnings = new List<string>();
        Checkpoint checkpoint = Checkpoint.Open(folder.Path);
        try
        {
            Tokenizer tokenizer = ReadTokenizer(folder.Path);
            ModelConfig config = checkpoint.Config;
            if (tokenizer.VocabularySize > config.VocabularySize)
                warnings.Add($"tokenizer.json knows {tokenizer.VocabularySize} ids, the model only {config.VocabularySize}; prompts with higher ids are refused.");
            DType weights = CheckWeightType(options.Dtype, checkpoint);
            WeightFormat format = FormatOn(engine.Device, options, weights);
            int blockSize = engine.BlockSizeFor(options.KvCache.PackedBits);
            if (blockSize != engine.BlockSize && engine.BlockSize != new EngineSection().BlockSize)
                warnings.Add($"--block-size: {engine.BlockSize} is raised to {blockSize}, because --kv-cache-dtype {options.KvCache.Dtype} quantises {KvBlockFormat.PackedGroup} tokens at once.");
            ModelConfig Served(int length) => config with { MaxPositions = Math.Min(length, config.MaxPositions) };
            PolicyMenu policies = PolicyMenu.For(options.KvCache, Served(options.MaxModelLen ?? config.MaxPositions), out KvLayout layout);
            int promptChunk = layout.IsCyclic ? PromptChunkOf(engine, blockSize) : 0;
            int logitRows = layout.IsCyclic ? engine.BatchSequences + promptChunk : Math.Max(engine.BatchSequences, Math.Min(MinLogitRows, engine.StepTokens));
            var limits = new DecoderLimits(engine.StepTokens, logitRows);
            DType kvType = ParseType(options.KvCache.Dtype) ?? weights;
            MemoryPlan memory = PlanMemory(ref policies, options.KvCache, Served, new MemoryDemand
            {
                Config = config,
                Layout = layout,
                Policy = policies.Default,
                WeightBytes = WeightFacts.BytesOf(config, checkpoint, format),
                Limits = limits,
                KvType = kvType,
                BlockSize = blockSize,
                PackedBits = options.KvCache.PackedBits,
                MaxNumSeqs = engine.BatchSequences,
                Sums = policies.Sums,
                SwapBytes = options.KvCache.SwapBytes,
                MaxModelLength = options.MaxModelLen,
                KvCacheBytes = poolBytes,
                AvailableBytes = room.Bytes,
                PoolShare = room.PoolShare,
                HostBytes = room.HostBytes,
                MoreFlag = room.MoreFlag,
            });
            return new ModelPlan
            {
                Names = options.Names.Count > 0 ? options.Names : [folder.DefaultName],
                Checkpoint = checkpoint,
                Tokenizer = tokenizer,
                ChatTemplate = ReadTemplate(options, folder.Path, tokenizer, warnings),
                Policies = policies,
                Layout = layout,
                Limits = limits,
                PromptChunk = promptChunk,
                KvType = kvType,
                BlockSize = blockSize,
                WeightType = weights,
                WeightFormat = format,
                Device = engine.Device,
                StoredType = checkpoint.StoredType,
                Memory = memory,
                Defaults = options.GenerationConfig == "none" ? GenerationDefaults.None : checkpoint.Generation,
                Revision = CheckpointRevision.Of(folder.Path),
                Folder = folder.Path,
                PackedCacheFolder = CacheFolder(options, folder.Path, engine.Device, format, warnings),
                Options = options,
                Warnings = warnings,
            };
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <summary>The cache of packed matrices, should one be wanted.</summary>
    /// <param name="warn">Told why a file of it cannot be used or written.</param>
    public PackedCache? NewPackedCache(Action<string> warn) =>
        PackedCacheFolder is null ? null : new PackedCache(PackedCacheFolder, CheckpointRevision.ExactFacts(Folder, Revision), warn);

    /// <summary>Sizes and bounds for the engine.</summary>
    public EngineOptions EngineOptions(EngineSection engine, AdmissionOptions admission) => new()
    {
        MaxNumSeqs = engine.BatchSequences,
        MaxBatchTokens = engine.StepTokens,
        MaxModelLength = Memory.MaxModelLength,
        BlockSize = BlockSize,
        PromptChunkTokens = PromptChunk > 0 ? PromptChunk : BlockSize,
        KvCacheBytes = Memory.PoolBytes,
        KvType = KvType,
        KvPackedBits = Options.KvCache.PackedBits,
        Sums = Policies.Sums,
        SwapBytes = Memory.SwapBytes,
        TokenClasses = Classes(),
        PrefixCaching = engine.PrefixCaching,
        AsyncScheduling = engine.AsyncScheduling,
        Scheduling = engine.SchedulingPolicy == "priority" ? SchedulingPolicy.Priority : SchedulingPolicy.Fcfs,
        MaxQueuedRequests = admission.MaxQueuedRequests,
        MaxQueuedTokens = admission.MaxQueuedTokens,
        CircuitBreak = engine.CircuitBreak,
        Seed = engine.Seed,
    };

    private static string? CacheFolder(ModelOptions options, string checkpoint, string device, WeightFormat format, List<string> warnings)
    {
        if (options.PackedCacheFolder(checkpoint) is not { } folder || (device == "cpu" && format != WeightFormat.Stored))
            return options.PackedCacheFolder(checkpoint);
        warnings.Add($"PackedCache has no effect {(device == "cpu" ? "on weights that stay as stored; --quantization or --dtype bfloat16 rounds them" : "on a GPU")}.");
        return null;
    }

    /// <summary>A context that is cut to the pool may leave no layer that slides, and then more policies can be served than before.</summary>
    private static MemoryPlan PlanMemory(ref PolicyMenu policies, KvCacheOptions options, Func<int, ModelConfig> served, MemoryDemand demand)
    {
        while (true)
        {
            MemoryPlan memory = MemoryPlan.For(demand);
            policies = PolicyMenu.For(options, served(memory.MaxModelLength), out _);
            if (policies.Sums == demand.Sums)
                return memory;
            demand = demand with { Sums = policies.Sums };
        }
    }

    /// <summary>64 tokens in whole blocks, or fewer where a step takes fewer.</summary>
    private static int PromptChunkOf(EngineSection engine, int blockSize)
    {
        const int tokens = 64;
        return blockSize <= engine.StepTokens
            ? Math.Max(blockSize, Math.Min(tokens, engine.StepTokens) / blockSize * blockSize)
            : throw new CheckpointException($"--max-num-batched-tokens: {engine.StepTokens} is less than a block of {blockSize}; "
                + "prompts of a model whose layers read from above go in whole blocks.");
    }

    /// <summary>Closes the checkpoint; only when it was not loaded.</summary>
    public void Dispose() => Checkpoint.Dispose();

    // Only policies that treat heads one by one ask for them, and those need this layout.
    private TokenClasses Classes() => Layout.Grouping == KvGrouping.Head
        ? new TokenClasses(TokenKinds.Special(Tokenizer), TokenKinds.Punctuation(Tokenizer))
        : TokenClasses.None;

    // A GPU's tensor cores multiply bfloat16 and binary16: where weights are stored so, nothing of them is lost.
    private static WeightFormat FormatOn(string device, ModelOptions options, DType weights) => (device, options.WeightFormat, weights) switch
    {
        ("cuda", WeightFormat.Stored, DType.BF16) => WeightFormat.BF16,
        ("cuda", WeightFormat.Stored, DType.F16) => WeightFormat.F16,
        _ => options.WeightFormat,
    };

    private static DType CheckWeightType(string wanted, Checkpoint checkpoint)
    {
        DType stored = checkpoint.StoredType;
        if (ParseType(wanted) is not { } type || type == stored)
            return stored;
        string allowed = stored == DType.BF16 ? "auto and bfloat16" : $"auto, {Name(stored)} and bfloat16";
        return type == DType.BF16 ? type : throw new CheckpointException(
            $"--dtype: \"{wanted}\" is not what this checkpoint's weights are stored as; allowed are {allowed}.");
    }

    // Complaints about a part of tokenizer.json do not say where that stood; all others begin with their file.
    private static Tokenizer ReadTokenizer(string folder)
    {
        try
        {
            return Tokenizer.Load(folder);
        }
        catch (TokenizerException exception) when (!Array.Exists(TokenizerFiles, file => exception.Message.StartsWith(file, StringComparison.Ordinal)))
        {
            throw new TokenizerException($"tokenizer.json: {exception.Message}", exception);
        }
    }

    /// <summary>The file that the chat template comes from: one of its own outranks the tokenizer's configuration.</summary>
    private static string TemplateFile(string folder)
    {
        string inConfiguration = Path.Combine(folder, "tokenizer_config.json");
        if (File.Exists(Path.Combine(folder, "chat_template.jinja")))
            return "chat_template.jinja";
        bool isThere = File.Exists(inConfiguration) && File.ReadAllText(inConfiguration).Contains("\"chat_template\"", StringComparison.Ordinal);
        return isThere || !File.Exists(Path.Combine(folder, "chat_template.json")) ? "tokenizer_config.json" : "chat_template.json";
    }

    private static ChatTemplate? ReadTemplate(ModelOptions options, string folder, Tokenizer tokenizer, List<string> warnings)
    {
        if (options.ChatTemplate is { } given)
        {
            try
            {
                bool isText = given.Contains("{{", StringComparison.Ordinal) || given.Contains("{%", StringComparison.Ordinal);
                return Text.Templates.ChatTemplate.Parse(isText ? given : File.ReadAllText(given));
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw new InvalidDataException($"--chat-template: {given} cannot be read");
            }
            catch (TemplateException exception)
            {
                throw new InvalidDataException($"--chat-template: {exception.Message}");
            }
        }

        if (tokenizer.ChatTemplate is not { } own)
            return null;
        try
        {
            return Text.Templates.ChatTemplate.Parse(own);
        }
        catch (TemplateException exception)
        {
            warnings.Add($"{TemplateFile(folder)}: the chat template cannot be used, so chat is off: {exception.Message.ReplaceLineEndings(" ")}");
            return null;
        }
    }

    /// <summary>A type by its name in configuration; null for auto.</summary>
    public static DType? ParseType(string name) => name switch
    {
        "float32" => DType.F32,
        "float16" => DType.F16,
        "bfloat16" => DType.BF16,
        _ => null,
    };

    /// <summary>A type's name in configuration.</summary>
    public static string Name(DType type) => type switch
    {
        DType.F32 => "float32",
        DType.F16 => "float16",
        DType.BF16 => "bfloat16",
        _ => type.ToString(),
    };
}
