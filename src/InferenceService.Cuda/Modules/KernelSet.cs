using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Native;
using InferenceService.Cuda.Verbs;

namespace InferenceService.Cuda.Modules;

/// <summary>All kernels of a device, compiled and loaded.</summary>
public sealed unsafe class KernelSet : IDisposable
{
    private static readonly string[] Sources = ["attention.cu", "skinny.cu", "integer.cu", "sampling.cu", "product.cu", "cache.cu", "rows.cu", "splits.cu"];
    private static readonly string[] SizedSources = ["flash.cu", "decode.cu"];
    private static readonly int[] UsualSizes = [64, 128]; // of a head: compiled at the start; others when a model first needs them
    private static readonly int[] SkinnyRows = [8, 16, 32];
    private static readonly string[] Suffixes = ["f32", "f16", "bf16"]; // by DType

    private readonly CudaDevice _device;
    private readonly List<nint> _modules = [];
    private readonly KernelCompiler _compiler;
    private readonly ConcurrentDictionary<int, HeadKernels> _heads = [];
    private readonly Lock _loading = new();
    private readonly Dictionary<(WeightFormat Format, bool AsIs), Kernel<SkinnyArguments>[]> _skinny = [];

    /// <summary>Compiles what the cache lacks and loads everything.</summary>
    /// <exception cref="CudaException">NVRTC is missing, a source does not compile, or the device refuses a module.</exception>
    public KernelSet(CudaDevice device, CudaOptions options)
    {
        _device = device;
        device.MakeCurrent();
        _compiler = new KernelCompiler(device.Capability, new CubinCache(options.CubinCache));
        IReadOnlyDictionary<(string, int), byte[]> images = Compile(_compiler, [.. UsualSizes.SelectMany(Sized), .. Sources.Select(name => (name, 0))]);
        nint rows = Load(images, "rows.cu"), product = Load(images, "product.cu"), cache = Load(images, "cache.cu"), attention = Load(images, "attention.cu");
        nint integer = Load(images, "integer.cu"), skinny = Load(images, "skinny.cu"), sampling = Load(images, "sampling.cu"), splits = Load(images, "splits.cu");
        Embed = new(device, rows, "embed");
        RmsNorm = new(device, rows, "rms_norm");
        Add = new(device, rows, "add");
        SiluMultiply = new(device, rows, "silu_multiply");
        Rope = new(device, rows, "rope");
        Operand = new(device, rows, "operand");
        Product = [.. Suffixes.Select(suffix => new Kernel<ProductArguments>(device, product, $"product_{suffix}"))];
        ProductInt8 = new(device, integer, "product_int8");
        ProductInt4 = new(device, integer, "product_int4");
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.F16, WeightFormat.Int8, WeightFormat.Int4])
        {
            foreach (bool asIs in (bool[])[false, true])
            {
                string name = format.ToString().ToLowerInvariant() + (asIs && Operands.TypeOf(format) != DType.U8 ? "_as_is" : "");
                _skinny[(format, asIs)] = [.. SkinnyRows.Select(rows => new Kernel<SkinnyArguments>(device, skinny, $"skinny_{name}_{rows}"))];
            }
        }

        WriteKv = new(device, cache, "write_kv");
        RopeWriteKv = new(device, cache, "rope_write_kv");
        MoveSlots = new(device, cache, "move_slots");
        PackBlocks = new(device, cache, "pack_blocks");
        Attention = [.. Suffixes.Select(suffix => new Kernel<AttentionArguments>(device, attention, $"attention_{suffix}"))];
        AttentionSums = [.. Suffixes.Select(suffix => new Kernel<SumArguments>(device, attention, $"attention_sums_{suffix}"))];
        AttentionRange = new(device, attention, "attention_range");
        Sample = new(device, sampling, "sample");
        MergeSplits = new(device, splits, "merge_splits");
        PlanSplits = new(device, splits, "plan_splits");
        foreach (int headDim in UsualSizes)
            _heads[headDim] = new HeadKernels(device, headDim, Load(images, SizedSources[0], headDim), Load(images, SizedSources[1], headDim));
    }

    internal Kernel<EmbedArguments> Embed { get; }

    internal Kernel<NormArguments> RmsNorm { get; }

    internal Kernel<AddArguments> Add { get; }

    internal Kernel<SiluArguments> SiluMultiply { get; }

    internal Kernel<RopeArguments> Rope { get; }

    internal Kernel<OperandArguments> Operand { get; }

    /// <summary>By the weight's <see cref="DType"/>.</summary>
    internal Kernel<ProductArguments>[] Product { get; }

    internal Kernel<IntegerArguments> ProductInt8 { get; }

    internal Kernel<IntegerArguments> ProductInt4 { get; }

    internal Kernel<WriteArguments> WriteKv { get; }

    internal Kernel<RotateArguments> RopeWriteKv { get; }

    internal Kernel<MoveArguments> MoveSlots { get; }

    internal Kernel<PackArguments> PackBlocks { get; }

    /// <summary>By the cache's <see cref="DType"/>.</summary>
    internal Kernel<AttentionArguments>[] Attention { get; }

    /// <summary>By the cache's <see cref="DType"/>.</summary>
    internal Kernel<SumArguments>[] AttentionSums { get; }

    internal Kernel<SumArguments> AttentionRange { get; }

    internal Kernel<SplitArguments> MergeSplits { get; }

    internal Kernel<PlanArguments> PlanSplits { get; }

    internal Kernel<SampleArguments> Sample { get; }

    /// <summary>The kernel of few rows for a packed weight, and how many it takes at once.</summary>
    /// <param name="asIs">x is an operand; else f32, which 16-bit formats round on the way and others do not read.</param>
    internal (Kernel<SkinnyArguments> Kernel, int Rows) Skinny(WeightFormat format, int rows, bool asIs)
    {
        int index = rows <= SkinnyRows[0] ? 0 : rows <= SkinnyRows[1] ? 1 : 2;
        return (_skinny[(format, asIs)][index], SkinnyRows[index]);
    }

    /// <summary>The kernel of single rows for a cache and a number of query heads; null where there is none.</summary>
    internal Kernel<SplitArguments>? Decode(in KvBlockFormat format, int group) =>
        format.PackedBits > 0 || format.Type == DType.F32 ? null : Heads(format.HeadDim)?.Decode(format.Type, group);

    /// <summary>The kernel on tensor cores for a cache and a number of query heads; null where there is none.</summary>
    /// <param name="rounded">Queries and weights in one part, where there is a kernel for that.</param>
    /// <param name="few">For tiles of 16 lines instead of 64.</param>
    internal Kernel<SplitArguments>? Flash(in KvBlockFormat format, int group, bool rounded, bool few) =>
        format.Type == DType.F32 || group > FlashLines(few) ? null : Heads(format.HeadDim)?.Flash(format, rounded, few);

    /// <summary>The kernel of column and band sums that belongs to <see cref="Flash"/>.</summary>
    internal Kernel<SumArguments> FlashSums(in KvBlockFormat format) => Heads(format.HeadDim)!.Sums(format);

    /// <summary>What the cache holds is widened on its way into a tile, and takes twice the room there.</summary>
    internal static bool IsWide(in KvBlockFormat format) => format.PackedBits > 0;

    /// <summary>Rows times query heads of a tile of <see cref="Flash"/>.</summary>
    internal static int FlashLines(bool few) => few ? 16 : 64;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_device.IsLost)
            return;
        _device.MakeCurrent();
        foreach (nint module in _modules)
            _ = CudaDriver.ModuleUnload(module);
        _modules.Clear();
    }

    /// <summary>The kernels of a head size, compiled if nobody has asked before: by a step that is taken for the first time, never while one is recorded.</summary>
    private HeadKernels? Heads(int headDim)
    {
        if (_heads.TryGetValue(headDim, out HeadKernels? known))
            return known;
        if (!HeadKernels.Sizes.Contains(headDim))
            return null;
        lock (_loading)
        {
            if (_heads.TryGetValue(headDim, out known))
                return known;
            ConcurrentDictionary<(string, int), byte[]> images = Compile(_compiler, [.. Sized(headDim)]);
            return _heads[headDim] = new HeadKernels(_device, headDim, Load(images, SizedSources[0], headDim), Load(images, SizedSources[1], headDim));
        }
    }

    private static IEnumerable<(string, int)> Sized(int headDim) => SizedSources.Select(name => (name, headDim));

    /// <summary>Side by side: NVRTC takes seconds for the larger files.</summary>
    private static ConcurrentDictionary<(string, int), byte[]> Compile(KernelCompiler compiler, (string Name, int HeadDim)[] wanted)
    {
        var images = new ConcurrentDictionary<(string, int), byte[]>();
        try
        {
            Parallel.ForEach(wanted, one => images[one] = compiler.Compile(KernelSource.Read(one.Name), one.HeadDim));
        }
        catch (AggregateException failures)
        {
            ExceptionDispatchInfo.Throw(failures.InnerExceptions[0]); // one source that does not compile says enough
        }

        return images;
    }

    private nint Load(IReadOnlyDictionary<(string, int), byte[]> images, string name, int headDim = 0)
    {
        nint module;
        fixed (byte* image = images[(name, headDim)])
            _device.Check(CudaDriver.ModuleLoad(&module, image, 0, null, null), "cuModuleLoadDataEx", name);
        _modules.Add(module);
        return module;
    }
}
