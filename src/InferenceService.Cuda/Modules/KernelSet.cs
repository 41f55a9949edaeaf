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
    private static readonly string[] Sources = ["flash.cu", "attention.cu", "decode.cu", "skinny.cu", "integer.cu", "sampling.cu", "product.cu", "cache.cu", "rows.cu"];
    private static readonly int[] SkinnyRows = [8, 16, 32];
    private static readonly int[] DecodeGroups = [1, 3]; // with more query heads a KV head tensor cores have the lead
    private static readonly string[] Suffixes = ["f32", "f16", "bf16"]; // by DType

    private readonly CudaDevice _device;
    private readonly List<nint> _modules = [];
    private readonly Dictionary<(int Type, int HeadDim, int Group), Kernel<SplitArguments>> _decode = [];
    private readonly Dictionary<(string Kind, int HeadDim), Kernel<SumArguments>> _flashSums = [];
    private readonly Dictionary<(WeightFormat Format, bool AsIs), Kernel<SkinnyArguments>[]> _skinny = [];
    private readonly Dictionary<(string Kind, int HeadDim), Kernel<SplitArguments>> _flash = [];

    /// <summary>Compiles what the cache lacks and loads everything.</summary>
    /// <exception cref="CudaException">NVRTC is missing, a source does not compile, or the device refuses a module.</exception>
    public KernelSet(CudaDevice device, CudaOptions options)
    {
        _device = device;
        device.MakeCurrent();
        var compiler = new KernelCompiler(device.Capability, new CubinCache(options.CubinCache));
        IReadOnlyDictionary<string, byte[]> images = Compile(compiler);
        nint rows = Load(images, "rows.cu"), product = Load(images, "product.cu"), cache = Load(images, "cache.cu"), attention = Load(images, "attention.cu");
        nint decode = Load(images, "decode.cu"), integer = Load(images, "integer.cu"), flash = Load(images, "flash.cu"), skinny = Load(images, "skinny.cu");
        nint sampling = Load(images, "sampling.cu");
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
        MergeSplits = new(device, decode, "merge_splits");
        foreach (int headDim in (int[])[64, 128])
        {
            foreach (string type in Suffixes[1..])
            {
                foreach (int group in DecodeGroups)
                    _decode[(Array.IndexOf(Suffixes, type), headDim, group)] = new(device, decode, $"decode_{type}_d{headDim}_g{group}");
            }

            foreach (string kind in (string[])["", "_wide"])
                _flashSums[(kind, headDim)] = new(device, flash, $"flash_sums{kind}_d{headDim}");
            foreach (string kind in (string[])["", "_wide", "_rounded", "_few", "_few_wide"])
                _flash[(kind, headDim)] = new(device, flash, $"flash{kind}_d{headDim}");
        }
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

    internal Kernel<SampleArguments> Sample { get; }

    /// <summary>The kernel of few rows for a packed weight, and how many it takes at once.</summary>
    /// <param name="asIs">x is an operand; else f32, which 16-bit formats round on the way and others do not read.</param>
    internal (Kernel<SkinnyArguments> Kernel, int Rows) Skinny(WeightFormat format, int rows, bool asIs)
    {
        int index = rows <= SkinnyRows[0] ? 0 : rows <= SkinnyRows[1] ? 1 : 2;
        return (_skinny[(format, asIs)][index], SkinnyRows[index]);
    }

    /// <summary>The kernel of single rows for a cache and a number of query heads; null where there is none.</summary>
    internal Kernel<SplitArguments>? Decode(in KvBlockFormat format, int group) => format.PackedBits > 0 || group > DecodeGroups[^1]
        ? null
        : _decode.GetValueOrDefault(((int)format.Type, format.HeadDim, DecodeGroups.First(most => group <= most)));

    /// <summary>The kernel on tensor cores for a cache and a number of query heads; null where there is none.</summary>
    /// <param name="rounded">Queries and weights in one part, where there is a kernel for that.</param>
    /// <param name="few">For tiles of 16 lines instead of 64.</param>
    internal Kernel<SplitArguments>? Flash(in KvBlockFormat format, int group, bool rounded, bool few)
    {
        if (format.Type == DType.F32 || group > FlashLines(few))
            return null;
        bool wide = IsWide(format);
        return _flash.GetValueOrDefault(((few, wide) switch { (true, true) => "_few_wide", (true, false) => "_few", (false, true) => "_wide", _ => rounded ? "_rounded" : "" }, format.HeadDim));
    }

    /// <summary>The kernel of column and band sums that belongs to <see cref="Flash"/>.</summary>
    internal Kernel<SumArguments> FlashSums(in KvBlockFormat format) => _flashSums[(IsWide(format) ? "_wide" : "", format.HeadDim)];

    /// <summary>What the cache holds is widened on its way into a tile, and takes twice the room there.</summary>
    internal static bool IsWide(in KvBlockFormat format) => format is not { Type: DType.BF16, PackedBits: 0 };

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

    /// <summary>Side by side: NVRTC takes seconds for the larger files.</summary>
    private static ConcurrentDictionary<string, byte[]> Compile(KernelCompiler compiler)
    {
        var images = new ConcurrentDictionary<string, byte[]>();
        try
        {
            Parallel.ForEach(Sources, name => images[name] = compiler.Compile(KernelSource.Read(name)));
        }
        catch (AggregateException failures)
        {
            ExceptionDispatchInfo.Throw(failures.InnerExceptions[0]); // one source that does not compile says enough
        }

        return images;
    }

    private nint Load(IReadOnlyDictionary<string, byte[]> images, string name)
    {
        nint module;
        fixed (byte* image = images[name])
            _device.Check(CudaDriver.ModuleLoad(&module, image, 0, null, null), "cuModuleLoadDataEx", name);
        _modules.Add(module);
        return module;
    }
}
