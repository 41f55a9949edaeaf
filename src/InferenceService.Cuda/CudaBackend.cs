using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Cuda.Native;
using InferenceService.Cuda.Verbs;

namespace InferenceService.Cuda;

/// <summary>The contract on an NVIDIA GPU: kernels of our own and cuBLASLt over device memory, one stream.</summary>
/// <remarks>
/// Activations are f32. Verbs only enqueue, and allocate nothing once their scratch has grown to the largest step seen. What depends on
/// contents (an id, a table entry, a row range that leads nowhere) is found by the kernel, which then reads and writes nothing, and is thrown
/// by the next call that waits, or by the verb itself with <see cref="CudaOptions.CheckEachVerb"/>.
/// </remarks>
public sealed unsafe class CudaBackend : IBackend
{
    private const int Threads = 256;

    private readonly CudaOptions _options;
    private readonly bool _owns;
    private readonly KernelSet _kernels;
    private readonly CudaStream _stream;
    private readonly DeviceMemory _memory;
    private readonly StagingRing _staging;
    private readonly FaultRecord _fault;
    private readonly BlasProducts _blas;
    private readonly CacheVerbs _cache;
    private bool _disposed;

    /// <summary>Opens the device, compiles the kernels and loads the libraries.</summary>
    /// <exception cref="CudaException">Something is missing; the message says what and what to do.</exception>
    public CudaBackend(CudaOptions options) : this(CudaDevice.Open(options), null, options, owns: true)
    {
    }

    /// <summary>A backend on a device and kernels that the caller keeps.</summary>
    internal CudaBackend(CudaDevice device, KernelSet kernels, CudaOptions options) : this(device, kernels, options, owns: false)
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
        _cache = new CacheVerbs(device, _stream, _kernels, _memory, _fault, options.Deterministic);
    }

    /// <inheritdoc/>
    public string Name => "cuda";

    /// <summary>The GPU.</summary>
    public CudaDevice Device { get; }

    /// <inheritdoc/>
    public Tensor Allocate(DType type, int rows, int columns)
    {
        Device.MakeCurrent();
        return _memory.Take(type, rows, columns);
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
        fixed (byte* first = host)
            _staging.Upload(first, host.Length, Address(device));
    }

    /// <inheritdoc/>
    public void Download(Tensor device, Span<byte> host)
    {
        VerbShapes.Download(device, host.Length);
        Device.MakeCurrent();
        _fault.Check();
        fixed (byte* first = host)
            _staging.Download(Address(device), first, device.ByteLength);
    }

    /// <inheritdoc/>
    public void Embed(Tensor table, Tensor ids, Tensor output)
    {
        VerbShapes.Embed(table, ids, output);
        var arguments = new EmbedArguments
        {
            Table = Address(table),
            Ids = Address(ids),
            Output = Address(output),
            Fault = _fault.Address,
            TableStride = table.RowStride,
            OutputStride = output.RowStride,
            Type = (int)table.Type,
            Columns = table.Columns,
            Entries = table.Rows,
        };
        Enter();
        _kernels.Embed.Launch(_stream, arguments, (ids.Columns, 1, 1), 128);
        Leave();
    }

    /// <inheritdoc/>
    public void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output)
    {
        VerbShapes.RmsNorm(x, weight, output);
        Norm(null, x, weight, epsilon, output);
    }

    /// <inheritdoc/>
    public void AddRmsNorm(Tensor x, Tensor residual, Tensor weight, float epsilon, Tensor output)
    {
        VerbShapes.SameShape(x, residual);
        VerbShapes.RmsNorm(residual, weight, output);
        Norm(x, residual, weight, epsilon, output);
    }

    /// <inheritdoc/>
    public void MatMul(Tensor x, Tensor weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        Enter();
        if (weight.Type == DType.F32 && !_options.Deterministic && x.Rows > 0 && weight.Rows > 0)
        {
            _blas.Multiply(
                new(CublasType.F32, x.Rows, x.Columns, weight.Rows, x.RowStride, weight.RowStride, output.RowStride),
                Address(x), Address(weight), Address(output));
        }
        else
            Product(_kernels.Product[(int)weight.Type], Address(x), x.RowStride, x.Rows, x.Columns, Address(weight), weight.RowStride, output);
        Leave();
    }

    /// <inheritdoc/>
    public void MatMul(Tensor x, in Weight weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        if (weight.Format == WeightFormat.Stored)
        {
            MatMul(x, weight.Memory, output);
            return;
        }

        if (x.Rows == 0 || weight.Rows == 0)
            return;
        Enter();
        if (weight.Format == WeightFormat.BF16)
            RoundedProduct(x, weight, output);
        else
            IntegerProduct(x, weight, output);
        Leave();
    }

    /// <inheritdoc/>
    public void AddBias(Tensor x, Tensor bias)
    {
        VerbShapes.AddBias(x, bias);
        AddTo(bias, 0, x);
    }

    /// <inheritdoc/>
    public void Rope(Tensor x, Tensor cosSin, int headDim)
    {
        VerbShapes.Rope(x, cosSin, headDim);
        int half = cosSin.Columns / 2;
        var arguments = new RopeArguments
        {
            X = Address(x),
            CosSin = Address(cosSin),
            XStride = x.RowStride,
            CosSinStride = cosSin.RowStride,
            Columns = x.Columns,
            HeadDim = headDim,
            Half = half,
        };
        Enter();
        _kernels.Rope.Launch(_stream, arguments, (x.Rows, ((long)(x.Columns / headDim) * half + 127) / 128, 1), 128);
        Leave();
    }

    /// <inheritdoc/>
    public void SiluMultiply(Tensor gate, Tensor up, Tensor output)
    {
        VerbShapes.SameShape(gate, up);
        VerbShapes.SameShape(gate, output);
        var arguments = new SiluArguments
        {
            Gate = Address(gate),
            Up = Address(up),
            Output = Address(output),
            GateStride = gate.RowStride,
            UpStride = up.RowStride,
            OutputStride = output.RowStride,
            Columns = gate.Columns,
        };
        Enter();
        _kernels.SiluMultiply.Launch(_stream, arguments, Tiles(gate.Rows, gate.Columns), Threads);
        Leave();
    }

    /// <inheritdoc/>
    public void Add(Tensor x, Tensor residual)
    {
        VerbShapes.SameShape(x, residual);
        AddTo(x, x.RowStride, residual);
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
    public void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output)
    {
        VerbShapes.Attention(q, cache, probe, output);
        Enter();
        _cache.Attend(q, cache, probe, output);
        Leave();
    }

    /// <inheritdoc/>
    public void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.MoveSlots(moves, pool, format);
        if (moves.IsEmpty)
            return;
        Enter();
        _cache.Move(Stage(MemoryMarshal.AsBytes(moves)), moves.Length, pool, format);
        Leave();
    }

    /// <inheritdoc/>
    public void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format)
    {
        VerbShapes.PackBlocks(packs, pool, format);
        if (packs.IsEmpty)
            return;
        Enter();
        _cache.Pack(Stage(MemoryMarshal.AsBytes(packs)), packs.Length, pool, format);
        Leave();
    }

    /// <summary>Records what <paramref name="step"/> enqueues, without running it, so that it can be replayed in one call.</summary>
    /// <remarks>
    /// The step has been taken once with the same shapes, so that scratch, plans and kernels are there. It holds the addresses of its tensors:
    /// what changes from step to step (ids, lengths, tables) is uploaded into them between replays. Hints like <see cref="KvBatch.MaxRows"/>
    /// are recorded as they are; they split work and bound nothing.
    /// </remarks>
    /// <exception cref="InvalidOperationException">The step copies between host and device, or wants memory or plans that are not there yet.</exception>
    internal CudaGraph Record(Action step)
    {
        Enter();
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
        return CudaGraph.End(Device, _stream);
    }

    /// <summary>Enqueues a recorded step.</summary>
    internal void Replay(CudaGraph graph)
    {
        Enter();
        graph.Launch(_stream);
        Leave();
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

    private static (long X, long Y, long Z) Tiles(int rows, int columns) => (rows, (columns + Threads - 1) / Threads, 1);

    private void Norm(Tensor? add, in Tensor x, in Tensor weight, float epsilon, in Tensor output)
    {
        var arguments = new NormArguments
        {
            Add = add is { } other ? Address(other) : 0,
            X = Address(x),
            Weight = Address(weight),
            Output = Address(output),
            AddStride = add?.RowStride ?? 0,
            XStride = x.RowStride,
            OutputStride = output.RowStride,
            Type = (int)weight.Type,
            Columns = weight.Columns,
            Epsilon = epsilon,
        };
        Enter();
        _kernels.RmsNorm.Launch(_stream, arguments, (x.Rows, x.Columns / weight.Columns, 1), Threads);
        Leave();
    }

    private void AddTo(in Tensor x, int stride, in Tensor target)
    {
        var arguments = new AddArguments
        {
            X = Address(x),
            Target = Address(target),
            XStride = stride,
            TargetStride = target.RowStride,
            Type = (int)x.Type,
            Columns = target.Columns,
        };
        Enter();
        _kernels.Add.Launch(_stream, arguments, Tiles(target.Rows, target.Columns), Threads);
        Leave();
    }

    /// <summary>x to bfloat16, then cuBLASLt.</summary>
    private void RoundedProduct(in Tensor x, in Weight weight, in Tensor output)
    {
        int stride = PackedRows.Stride(x.Columns);
        ulong rounded = _memory.Scratch((long)x.Rows * stride * sizeof(ushort));
        var narrow = new NarrowArguments { X = Address(x), Output = rounded, XStride = x.RowStride, OutputStride = stride, Columns = x.Columns, Padded = stride };
        _kernels.Narrow.Launch(_stream, narrow, Tiles(x.Rows, stride), Threads);
        if (_options.Deterministic)
            Product(_kernels.ProductRounded, rounded, stride, x.Rows, x.Columns, Address(weight.Memory), stride, output);
        else
            _blas.Multiply(new(CublasType.BF16, x.Rows, stride, weight.Rows, stride, stride, output.RowStride), rounded, Address(weight.Memory), Address(output));
    }

    /// <summary>x to signed bytes, then our own kernel, whose sums do not depend on the other rows.</summary>
    private void IntegerProduct(in Tensor x, in Weight weight, in Tensor output)
    {
        int runs = PackedRows.Runs(x.Columns);
        long codeBytes = ((long)x.Rows * x.Columns + DeviceArena.Alignment - 1) / DeviceArena.Alignment * DeviceArena.Alignment;
        ulong codes = _memory.Scratch(codeBytes + (long)x.Rows * runs * sizeof(float)), scales = codes + (ulong)codeBytes;
        var round = new RoundArguments { X = Address(x), Codes = codes, Scales = scales, XStride = x.RowStride, Columns = x.Columns, Runs = runs };
        _kernels.RoundRows.Launch(_stream, round, (x.Rows, runs, 1), PackedRows.Run);
        var arguments = new IntegerArguments
        {
            Codes = codes,
            Scales = scales,
            Weight = Address(weight.Memory),
            Output = Address(output),
            WeightBytes = weight.Memory.RowStride,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Inner = x.Columns,
            Columns = weight.Rows,
            Runs = runs,
        };
        const int tile = 4;
        (weight.Format == WeightFormat.Int8 ? _kernels.ProductInt8 : _kernels.ProductInt4)
            .Launch(_stream, arguments, ((weight.Rows + tile - 1) / tile, (x.Rows + tile - 1) / tile, 1), 128);
    }

    private void Product(Kernel<ProductArguments> kernel, ulong x, int xStride, int rows, int inner, ulong weight, int weightStride, in Tensor output)
    {
        const int tile = 32;
        var arguments = new ProductArguments
        {
            X = x,
            Weight = weight,
            Output = Address(output),
            XStride = xStride,
            WeightStride = weightStride,
            OutputStride = output.RowStride,
            Rows = rows,
            Inner = inner,
            Columns = output.Columns,
        };
        kernel.Launch(_stream, arguments, ((output.Columns + tile - 1) / tile, (rows + tile - 1) / tile, 1), 128);
    }

    /// <summary>A short list for the next kernel, on the device.</summary>
    private ulong Stage(ReadOnlySpan<byte> list)
    {
        ulong scratch = _memory.Scratch(list.Length);
        fixed (byte* first = list)
            _staging.Upload(first, list.Length, scratch);
        return scratch;
    }

    private void Enter() => Device.MakeCurrent();

    private void Leave()
    {
        if (_options.CheckEachVerb && !_memory.IsRecording)
            _fault.Check();
    }

    private void SetRecording(bool recording) => _memory.IsRecording = _staging.IsRecording = _blas.IsRecording = recording;
}
