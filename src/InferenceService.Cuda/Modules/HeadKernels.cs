using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Verbs;

namespace InferenceService.Cuda.Modules;

/// <summary>The attention kernels that are compiled for one head size.</summary>
internal sealed class HeadKernels
{
    private static readonly int[] DecodeGroups = [1, 3]; // with more query heads a KV head tensor cores have the lead

    private readonly Dictionary<(DType Type, int Group), Kernel<SplitArguments>> _decode = [];
    private readonly Dictionary<string, Kernel<SplitArguments>> _flash = [];
    private readonly Dictionary<string, Kernel<SumArguments>> _sums = [];

    /// <summary>Takes the kernels from their modules.</summary>
    public HeadKernels(CudaDevice device, int headDim, nint flash, nint decode)
    {
        foreach (int group in DecodeGroups)
        {
            _decode[(DType.F16, group)] = new(device, decode, $"decode_f16_g{group}_d{headDim}");
            _decode[(DType.BF16, group)] = new(device, decode, $"decode_bf16_g{group}_d{headDim}");
        }

        foreach (string kind in (string[])["", "_half", "_wide", "_rounded", "_few", "_few_half", "_few_wide"])
            _flash[kind] = new(device, flash, $"flash{kind}_d{headDim}");
        foreach (string kind in (string[])["", "_half", "_wide"])
            _sums[kind] = new(device, flash, $"flash_sums{kind}_d{headDim}");
    }

    /// <summary>Multiples of 16 for which tensor cores serve; other sizes take the exact kernels.</summary>
    public static ReadOnlySpan<int> Sizes => [32, 48, 64, 80, 96, 112, 128, 256];

    /// <summary>Bytes of a tile's row in shared memory: its elements, and where rows would otherwise share banks 16 bytes more (Kernels/flash.cu).</summary>
    public static int PitchBytes(int headDim) => headDim % 64 == 0 ? 2 * headDim : 16 * ((headDim / 8) | 1);

    /// <summary>The kernel of single rows; null where tensor cores serve them.</summary>
    public Kernel<SplitArguments>? Decode(DType type, int group) =>
        group > DecodeGroups[^1] ? null : _decode.GetValueOrDefault((type, DecodeGroups.First(most => group <= most)));

    /// <summary>The kernel on tensor cores.</summary>
    public Kernel<SplitArguments> Flash(in KvBlockFormat format, bool rounded, bool few) => _flash[(few, Kind(format)) switch
    {
        (true, "_half") => "_few_half",
        (true, "_wide") => "_few_wide",
        (true, _) => "_few",
        (false, "") when rounded => "_rounded",
        (false, var kind) => kind,
    }];

    /// <summary>The kernel of column and band sums beside it.</summary>
    public Kernel<SumArguments> Sums(in KvBlockFormat format) => _sums[Kind(format)];

    private static string Kind(in KvBlockFormat format) => KernelSet.IsWide(format) ? "_wide" : format.Type == DType.F16 ? "_half" : "";
}
