using InferenceService.Compute.Cpu.Weights;
using K = InferenceService.Compute.Cpu.Kernels;

namespace InferenceService.Compute.Cpu;

/// <summary>The contract on the processor: SIMD kernels over host memory, one operation a file under Kernels.</summary>
/// <remarks>
/// Verbs allocate nothing once their scratch has grown to the largest step seen. A row's bits are the same for any batch, chunking and
/// number of threads.
/// </remarks>
public sealed class CpuBackend : IBackend
{
    private readonly List<HostBuffer> _buffers = [];
    private readonly KernelHost _host;

    /// <summary>Creates the backend and starts its threads.</summary>
    /// <param name="threads">Threads that compute, the caller included; 0 = <see cref="UsableCores.Count"/>.</param>
    /// <param name="path">Instruction set; the widest one of this processor unless named.</param>
    /// <param name="kernels">Instructions that multiply packed weights; the fastest ones of the path unless named.</param>
    /// <param name="processors">Where all of them are kept, the caller from <see cref="BeginThread"/> on; null = wherever the system likes.</param>
    /// <exception cref="PlatformNotSupportedException">The processor lacks the path or the kernels.</exception>
    public CpuBackend(int threads = 0, SimdPath? path = null, KernelFamily? kernels = null, IReadOnlyList<int>? processors = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        SimdPath chosen = path ?? SimdPathExtensions.Best;
        if (!chosen.IsSupported())
            throw new PlatformNotSupportedException($"This processor cannot run the SIMD path {chosen}; it can run {SimdPathExtensions.Best}.");
        KernelFamily family = kernels ?? KernelFamilyExtensions.Best(chosen);
        if (!family.IsSupported())
            throw new PlatformNotSupportedException($"This processor cannot run the kernels {family}; it can run {KernelFamilyExtensions.Best(SimdPathExtensions.Best)}.");
        _host = new KernelHost(threads == 0 ? UsableCores.Count() : threads, chosen, family, processors);
    }

    /// <inheritdoc/>
    public string Name => "cpu";

    /// <summary>Threads that compute, the caller included.</summary>
    public int Threads => _host.Workers;

    /// <summary>Instruction set of the kernels.</summary>
    public SimdPath Path => _host.Path;

    /// <summary>Instructions that multiply packed weights.</summary>
    public KernelFamily Kernels => _host.Kernels;

    /// <summary>For measurements that must run on the same threads.</summary>
    internal KernelHost Host => _host;

    /// <inheritdoc/>
    public void BeginThread() => _host.KeepThread();

    /// <inheritdoc/>
    public Tensor Allocate(DType type, int rows, int columns)
    {
        var buffer = new HostBuffer((long)rows * columns * type.Size());
        _buffers.Add(buffer);
        return Tensor.Dense(buffer, 0, type, rows, columns);
    }

    /// <inheritdoc/>
    public Tensor Place(Tensor host) => host;

    /// <inheritdoc/>
    public bool Supports(WeightFormat format, int columns) => format != WeightFormat.F16 && format.Holds(columns);

    /// <inheritdoc/>
    public string PackedLayout => WeightLayout.Name;

    /// <inheritdoc/>
    public Weight AllocateWeight(WeightFormat format, int rows, int columns)
    {
        if (format == WeightFormat.Stored || rows < 0 || !Supports(format, columns))
            throw new ShapeException($"A weight [{rows}, {columns}] cannot be packed as {format}.");
        _host.Generate(format); // while weights load, not in the first step
        Tensor panels = Allocate(DType.U8, WeightLayout.Panels(rows), WeightLayout.PanelBytes(format, columns));
        return new Weight(format, rows, columns, panels);
    }

    /// <inheritdoc/>
    public WeightError Pack(Tensor host, in Weight target, int firstRow)
    {
        VerbShapes.Pack(host, target, firstRow);
        return WeightPack.Pack(_host, host, target, firstRow);
    }

    /// <inheritdoc/>
    public void Upload(ReadOnlySpan<byte> host, Tensor device)
    {
        VerbShapes.Upload(host.Length, device);
        host.CopyTo(Bytes(device));
    }

    /// <inheritdoc/>
    public void Download(Tensor device, Span<byte> host)
    {
        VerbShapes.Download(device, host.Length);
        Bytes(device).CopyTo(host);
    }

    /// <inheritdoc/>
    public bool ReadsInPlace => true;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Read(Tensor device, Span<byte> staging)
    {
        VerbShapes.Download(device, int.MaxValue);
        return Bytes(device);
    }

    /// <inheritdoc/>
    public void Embed(Tensor table, Tensor ids, Tensor output)
    {
        VerbShapes.Embed(table, ids, output);
        K.Embed.Run(_host, table, ids, output);
    }

    /// <inheritdoc/>
    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output)
    {
        VerbShapes.RmsNorm(x, weight, output);
        K.RmsNorm.Run(_host, null, x, weight, epsilon, output);
    }

    /// <inheritdoc/>
    public void AddRmsNorm(Tensor x, Tensor residual, Tensor weight, float epsilon, Tensor output)
    {
        VerbShapes.SameShape(x, residual);
        VerbShapes.RmsNorm(residual, weight, output);
        K.RmsNorm.Run(_host, x, residual, weight, epsilon, output);
    }

    /// <inheritdoc/>
    public void MatMul(Tensor x, Tensor weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        K.MatMul.Run(_host, x, weight, output);
    }

    /// <inheritdoc/>
    public void MatMul(Tensor x, in Weight weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        if (weight.Format == WeightFormat.Stored)
            K.MatMul.Run(_host, x, weight.Memory, output);
        else
            WeightMatMul.Run(_host, x, weight, output);
    }

    /// <inheritdoc/>
    public void AddBias(Tensor x, Tensor bias)
    {
        VerbShapes.AddBias(x, bias);
        K.AddBias.Run(_host, x, bias);
    }

    /// <inheritdoc/>
    public void Rope(Tensor x, Tensor cosSin, int headDim)
    {
        VerbShapes.Rope(x, cosSin, headDim);
        K.Rope.Run(_host, x, cosSin, headDim);
    }

    /// <inheritdoc/>
    public void SiluMultiply(Tensor gate, Tensor up, Tensor output)
    {
        VerbShapes.SameShape(gate, up);
        VerbShapes.SameShape(gate, output);
        K.SiluMultiply.Run(_host, gate, up, output);
    }

    /// <inheritdoc/>
    public void Add(Tensor x, Tensor residual)
    {
        VerbShapes.SameShape(x, residual);
        K.Add.Run(_host, x, residual);
    }

    /// <inheritdoc/>
    public void WriteKv(Tensor k, Tensor v, in PagedKv cache)
    {
        VerbShapes.WriteKv(k, v, cache);
        K.WriteKv.Run(_host, k, v, cache);
    }

    /// <inheritdoc/>
    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output)
    {
        VerbShapes.Attention(q, cache, probe, output);
        K.PagedAttention.Run(_host, q, cache, probe, output);
    }

    /// <inheritdoc/>
    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.MoveSlots(moves, pool, format);
        K.MoveSlots.Run(_host, moves, pool, format);
    }

    /// <inheritdoc/>
    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.PackBlocks(packs, pool, format);
        K.PackBlocks.Run(_host, packs, pool, format);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _host.Dispose();
        foreach (HostBuffer buffer in _buffers)
            buffer.Dispose();
        _buffers.Clear();
    }

    private static unsafe Span<byte> Bytes(Tensor tensor) => new((void*)tensor.Address, checked((int)tensor.ByteLength));
}
