// Above 400 lines: one method for each verb of the contract, a check of shapes and a call of the file in Verbs that does it.
using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Cuda.Native;
using InferenceService.Cuda.Verbs;

namespace InferenceService.Cuda;

/// <summary>The contract on an NVIDIA GPU: kernels of our own and cuBLASLt over device memory, one stream.</summary>
/// <remarks>
/// Activations are f32, but for what products round anyway: <see cref="Operands"/>. Verbs only enqueue, and allocate nothing once their scratch has grown to the largest step seen. What depends on
/// contents (an id, a table entry, a row range that leads nowhere) is found by the kernel, which then reads and writes nothing, and is thrown
/// by the next call that waits, or by the verb itself with <see cref="CudaOptions.CheckEachVerb"/>.
/// </remarks>
public sealed unsafe class CudaBackend : IBackend
{
    private readonly CudaOptions _options;
    private readonly bool _owns;
    private readonly KernelSet _kernels;
    private readonly CudaStream _stream;
    private readonly DeviceMemory _memory;
    private readonly StagingRing _staging;
    private readonly FaultRecord _fault;
    private readonly BlasProducts _blas;
    private readonly RowVerbs _rows;
    private readonly ProductVerbs _products;
    private readonly SplitPlans _plans;
    private readonly CacheVerbs _cache;
    private readonly AttentionVerbs _attention;
    private readonly SamplingVerbs _sampling;
    private readonly List<CudaGraph> _graphs = [];
    private readonly List<CudaReadback> _readbacks = [];
    private bool _disposed;

    /// <summary>Opens the device, compiles the kernels and loads the libraries.</summary>
    /// <exception cref="CudaException">Something is missing; the message says what and what to do.</exception>
    public CudaBackend(CudaOptions options) : this(CudaDevice.Open(options), null, options, owns: true)
    {
    }

    /// <summary>A backend on a device and kernels that the caller keeps; several may share them.</summary>
    /// <exception cref="CudaException">cuBLASLt is missing, or the device has no memory for the backend's own needs.</exception>
    public CudaBackend(CudaDevice device, KernelSet kernels, CudaOptions options) : this(device, kernels, options, owns: false)
    {
    }

    private CudaBackend(CudaDevice device, KernelSet? kernels, CudaOptions options, bool owns)
    {
        (Device, _options, _owns) = (device, options, owns);
        device.MakeCurrent();
        _kernels = kernels ?? new KernelSet(device, options);
        _stream = new CudaStream(device);
        _memory = new DeviceMemory(device, _stream, options.ArenaBytes);
        _staging = new StagingRing(device, _stream, options.StagingBytes);
        _fault = new FaultRecord(device, _stream, _staging, FaultRecord.Allocate(_memory));
        _blas = new BlasProducts(device, _stream, _memory, options.ArenaBytes);
        _rows = new RowVerbs(_stream, _kernels, _fault);
        _products = new ProductVerbs(_stream, _kernels, _memory, _rows, _blas, options.Deterministic);
        _plans = new SplitPlans(_stream, _kernels, _memory, device.Multiprocessors);
        _cache = new CacheVerbs(_stream, _kernels, _fault);
        _attention = new AttentionVerbs(device, _stream, _kernels, _memory, _plans, _fault, options);
        _sampling = new SamplingVerbs(_stream, _kernels, _fault);
    }

    /// <inheritdoc/>
    public string Name => "cuda";

    /// <summary>The GPU.</summary>
    public CudaDevice Device { get; }

    /// <summary>
    /// Device memory that a backend takes beside its tensors: cuBLASLt's workspace, scratch, the unused end of an arena, loaded kernels. An
    /// estimate, generous for models up to 8 billion parameters and steps up to 2,048 rows; recorded steps are not part of it.
    /// </summary>
    public const long OverheadBytes = 256L << 20;

    /// <inheritdoc/>
    public Tensor Allocate(DType type, int rows, int columns)
    {
        Device.MakeCurrent();
        return _memory.Take(type, rows, columns);
    }

    /// <inheritdoc/>
    public Tensor AllocateOperand(WeightFormat format, int rows, int columns)
    {
        if (!format.Holds(columns))
            throw new ShapeException($"Weights in {format} have no {columns} columns.");
        DType type = Operands.TypeOf(format);
        return Allocate(type, rows, Operands.Stride(type, columns)).ColumnRange(0, columns);
    }

    /// <inheritdoc/>
    public Tensor Place(Tensor host)
    {
        if (host.Buffer is DeviceArena)
            return host;
        Tensor placed = Allocate(host.Type, host.Rows, host.Columns);
        long rowBytes = placed.RowBytes;
        if (host.IsDense)
            _staging.Upload((byte*)host.Address, host.ByteLength, Address(placed));
        else
        {
            for (int row = 0; row < host.Rows; row++)
                _staging.Upload((byte*)host.Address + row * host.RowBytes, rowBytes, Address(placed) + (ulong)(row * rowBytes));
        }

        GC.KeepAlive(host.Buffer);
        return placed;
    }

    /// <inheritdoc/>
    public bool Supports(WeightFormat format, int columns) => format.Holds(columns);

    /// <inheritdoc/>
    public Weight AllocateWeight(WeightFormat format, int rows, int columns)
    {
        if (format == WeightFormat.Stored || rows < 0 || !format.Holds(columns))
            throw new ShapeException($"A weight [{rows}, {columns}] cannot be packed as {format}.");
        return new Weight(format, rows, columns, Allocate(DType.U8, rows, PackedRows.Bytes(format, columns)));
    }

    /// <inheritdoc/>
    public WeightError Pack(Tensor host, in Weight target, int firstRow)
    {
        VerbShapes.Pack(host, target, firstRow);
        Device.MakeCurrent();
        if (PackedRows.IsAsStored(target.Format, OnHost(host)))
        {
            _staging.Upload((byte*)host.Address, host.ByteLength, Address(target.Memory) + (ulong)(firstRow * target.Memory.RowBytes));
            GC.KeepAlive(host.Buffer);
            return default;
        }

        byte[] row = new byte[target.Memory.Columns];
        float[] values = new float[host.Columns];
        var error = default(WeightError);
        for (int r = 0; r < host.Rows; r++)
        {
            Array.Clear(row);
            error += PackedRows.Round(target.Format, OnHost(host), r, values, row);
            fixed (byte* first = row)
                _staging.Upload(first, row.Length, Address(target.Memory) + (ulong)((firstRow + r) * target.Memory.RowBytes));
        }

        GC.KeepAlive(host.Buffer);
        return error;
    }

    /// <inheritdoc/>
    public void Upload(ReadOnlySpan<byte> host, Tensor device)
    {
        VerbShapes.Upload(host.Length, device);
        Device.MakeCurrent();
        _plans.Invalidate();
        fixed (byte* first = host)
            _staging.Upload(first, host.Length, Address(device));
    }

    /// <inheritdoc/>
    public void Download(Tensor device, Span<byte> host)
    {
        VerbShapes.Download(device, host.Length);
        Device.MakeCurrent();
        fixed (byte* first = host)
            _fault.Download(Address(device), first, device.ByteLength);
    }

    /// <inheritdoc/>
    public Readback AllocateReadback(int bytes)
    {
        Device.MakeCurrent();
        var readback = new CudaReadback(Device, _stream, _fault, bytes);
        _readbacks.Add(readback);
        return readback;
    }

    /// <inheritdoc/>
    public void Embed(Tensor table, Tensor ids, Tensor output)
    {
        VerbShapes.Embed(table, ids, output);
        Enter();
        _rows.Embed(table, ids, output);
        Leave();
    }

    /// <inheritdoc/>
    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output)
    {
        VerbShapes.RmsNorm(x, weight, Operands.AsF32(output));
        CheckOperand(output, weight);
        Enter();
        _rows.Norm(null, x, weight, epsilon, output);
        Leave();
    }

    /// <inheritdoc/>
    public void AddRmsNorm(Tensor x, Tensor residual, Tensor weight, float epsilon, Tensor output)
    {
        VerbShapes.SameShape(x, residual);
        VerbShapes.RmsNorm(residual, weight, Operands.AsF32(output));
        CheckOperand(output, weight);
        Enter();
        _rows.Norm(x, residual, weight, epsilon, output);
        Leave();
    }

    /// <inheritdoc/>
    public void MatMul(Tensor x, Tensor weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        Enter();
        _products.Stored(x, weight, output);
        Leave();
    }

    /// <inheritdoc/>
    public void MatMul(Tensor x, in Weight weight, Tensor output)
    {
        if (weight.Format == WeightFormat.Stored)
        {
            MatMul(x, weight.Memory, output);
            return;
        }

        VerbShapes.MatMul(Operands.AsF32(x), weight, output);
        Operands.Check(x);
        if (x.Rows == 0 || weight.Rows == 0)
            return;
        Enter();
        _products.Packed(x, weight, output);
        Leave();
    }

    /// <inheritdoc/>
    public void AddBias(Tensor x, Tensor bias)
    {
        VerbShapes.AddBias(x, bias);
        Enter();
        _rows.Add(bias, 0, x);
        Leave();
    }

    /// <inheritdoc/>
    public void Rope(Tensor x, Tensor cosSin, int headDim)
    {
        VerbShapes.Rope(x, cosSin, headDim);
        Enter();
        _rows.Rope(x, cosSin, headDim);
        Leave();
    }

    /// <inheritdoc/>
    public void SiluMultiply(Tensor gate, Tensor up, Tensor output)
    {
        VerbShapes.SameShape(gate, up);
        VerbShapes.SameShape(gate, Operands.AsF32(output));
        Operands.Check(output);
        Enter();
        _rows.SiluMultiply(gate, up, output);
        Leave();
    }

    /// <inheritdoc/>
    public void Add(Tensor x, Tensor residual)
    {
        VerbShapes.SameShape(x, residual);
        Enter();
        _rows.Add(x, x.RowStride, residual);
        Leave();
    }

    /// <inheritdoc/>
    public void WriteKv(Tensor k, Tensor v, in PagedKv cache)
    {
        VerbShapes.WriteKv(k, v, cache);
        Enter();
        _cache.Write(k, v, cache);
        Leave();
    }

    /// <inheritdoc/>
    public void RopeWriteKv(Tensor q, Tensor k, Tensor v, Tensor cosSin, in PagedKv cache)
    {
        VerbShapes.RopeWriteKv(q, k, v, cosSin, cache);
        Enter();
        _cache.RotateAndWrite(q, k, v, cosSin, cache);
        Leave();
    }

    /// <inheritdoc/>
    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output)
    {
        VerbShapes.Attention(q, cache, probe, output);
        Enter();
        _attention.Attend(q, cache, probe, output);
        Leave();
    }

    /// <inheritdoc/>
    public bool ChoosesTokens => true;

    /// <inheritdoc/>
    public void Choose(Tensor logits, Tensor orders, Tensor changes, Tensor tokens, Tensor next)
    {
        VerbShapes.Choose(logits, orders, changes, tokens, next);
        Enter();
        _sampling.Choose(logits, orders, changes, tokens, next);
        Leave();
    }

    /// <inheritdoc/>
    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.MoveSlots(moves, pool, format);
        if (Stage(moves) is not { } list)
            return;
        _cache.Move(list, moves.Length, pool, format);
        Leave();
    }

    /// <inheritdoc/>
    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.PackBlocks(packs, pool, format);
        if (Stage(packs) is not { } list)
            return;
        _cache.Pack(list, packs.Length, pool, format);
        Leave();
    }

    /// <summary>Copies a dense tensor on the device: what its memory can do at best, for measurements.</summary>
    internal void Copy(Tensor from, Tensor to)
    {
        Enter();
        Device.Check(CudaDriver.CopyOnDevice(Address(to), Address(from), (nuint)from.ByteLength, _stream.Handle), "cuMemcpyDtoDAsync");
    }

    /// <summary>How steps are divided, for checks.</summary>
    internal SplitPlans Plans => _plans;

    /// <summary>Device memory that the recorded steps have taken, as the driver counts it; no plan can know it before.</summary>
    public long RecordedBytes { get; private set; }

    /// <summary>Steps recorded so far, for checks.</summary>
    internal int RecordedSteps => _graphs.Count;

    /// <inheritdoc/>
    public bool CanRecord => _options.RecordSteps;

    /// <inheritdoc/>
    public RecordedStep Record(Action step)
    {
        Enter();
        long free = Device.FreeBytes();
        CudaGraph.Begin(Device, _stream);
        SetRecording(true);
        try
        {
            step();
        }
        catch
        {
            SetRecording(false);
            CudaGraph.Abandon(_stream);
            throw;
        }

        SetRecording(false);
        CudaGraph graph = CudaGraph.End(Device, _stream, _plans.Invalidate);
        RecordedBytes += Math.Max(0, free - Device.FreeBytes());
        _graphs.Add(graph);
        return graph;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        if (!Device.IsLost)
        {
            Device.MakeCurrent();
            _stream.Wait();
        }

        foreach (CudaGraph graph in _graphs)
            graph.Dispose();
        foreach (CudaReadback readback in _readbacks)
            readback.Dispose();
        _blas.Dispose();
        _staging.Dispose();
        _memory.Dispose();
        _stream.Dispose();
        if (!_owns)
            return;
        _kernels.Dispose();
        Device.Dispose();
    }

    /// <summary>Device address of a tensor's first element.</summary>
    /// <exception cref="ShapeException">The tensor lies in host memory.</exception>
    internal static ulong Address(in Tensor tensor) => tensor.Buffer is DeviceArena
        ? (ulong)tensor.Address
        : throw new ShapeException($"A {tensor.Type} tensor [{tensor.Rows}, {tensor.Columns}] lies in host memory; Place it first.");

    private static Tensor OnHost(in Tensor tensor) => tensor.Buffer is not DeviceArena
        ? tensor
        : throw new ShapeException($"A {tensor.Type} tensor [{tensor.Rows}, {tensor.Columns}] lies on the device; weights are packed from host memory.");

    private static void CheckOperand(in Tensor output, in Tensor weight)
    {
        Operands.Check(output);
        if (output.Type != DType.F32 && output.Columns != weight.Columns)
            throw new ShapeException($"A norm of several runs of {weight.Columns} columns writes F32, not {output.Type}.");
    }

    /// <summary>A short list for the next kernel, on the device; null when there is nothing in it.</summary>
    private ulong? Stage<T>(ReadOnlySpan<T> list) where T : unmanaged
    {
        if (list.IsEmpty)
            return null;
        Enter();
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(list);
        ulong scratch = _memory.Scratch(bytes.Length);
        fixed (byte* first = bytes)
            _staging.Upload(first, bytes.Length, scratch);
        return scratch;
    }

    private void Enter() => Device.MakeCurrent();

    private void Leave()
    {
        if (_options.CheckEachVerb && !_memory.IsRecording)
            _fault.Check();
    }

    private void SetRecording(bool recording)
    {
        _memory.IsRecording = _staging.IsRecording = _blas.IsRecording = recording;
        _plans.Invalidate(); // a recorded step makes its own
    }
}
