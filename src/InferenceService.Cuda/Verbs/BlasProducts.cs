using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Verbs;

/// <summary>Products x · weightᵀ by cuBLASLt, one plan a shape.</summary>
/// <remarks>
/// Row-major output[rows, out] = x[rows, in] · weight[out, in]ᵀ is column-major D[out, rows] = weightᵀ · x with the left operand transposed.
/// Sums in f32 and no TF32. One workspace, for one stream: two products never run at once.
/// </remarks>
internal sealed unsafe class BlasProducts : IDisposable
{
    private const int MostPlans = 4096;
    private const long WorkspaceBytes = 32L << 20; // what cuBLAS's reference recommends for Hopper

    private readonly CudaDevice _device;
    private readonly CudaStream _stream;
    private readonly ulong _workspace;
    private readonly long _workspaceBytes;
    private readonly Dictionary<Shape, Plan> _plans = [];
    private readonly nint _handle;

    /// <summary>A step is being recorded: cuBLASLt must not be asked for new plans.</summary>
    public bool IsRecording { get; set; }

    /// <summary>Loads the library and takes the workspace.</summary>
    /// <param name="memory">Where the workspace comes from; half of an arena at most.</param>
    /// <exception cref="CudaException">cuBLASLt is not here or does not fit the device.</exception>
    public BlasProducts(CudaDevice device, CudaStream stream, DeviceMemory memory, long arenaBytes)
    {
        (_device, _stream) = (device, stream);
        _ = NativeLibraries.Require(NativeLibraries.CublasLt);
        nint handle;
        device.Check(CublasLt.Create(&handle), "cublasLtCreate");
        _handle = handle;
        _workspaceBytes = Math.Min(WorkspaceBytes, arenaBytes / 2 / DeviceArena.Alignment * DeviceArena.Alignment);
        _workspace = (ulong)memory.Take(Compute.DType.U8, 1, (int)_workspaceBytes).Address;
    }

    /// <summary>One product's shape; strides in elements.</summary>
    internal readonly record struct Shape(CublasType Type, int Rows, int Inner, int Columns, int XStride, int WeightStride, int OutputStride);

    /// <summary>Enqueues output = x · weightᵀ; both operands of the shape's type, output f32.</summary>
    /// <exception cref="CudaException">cuBLASLt has no way to compute the shape.</exception>
    public void Multiply(in Shape shape, ulong x, ulong weight, ulong output)
    {
        if (!_plans.TryGetValue(shape, out Plan? plan))
        {
            if (IsRecording)
                throw new InvalidOperationException($"A recorded step multiplies a new shape, {shape}: take the step once before recording it.");
            if (_plans.Count >= MostPlans)
                Forget();
            _plans[shape] = plan = new Plan(this, shape);
        }

        float one = 1, zero = 0;
        MatmulAlgorithm algorithm = plan.Algorithm;
        _device.Check(
            CublasLt.Matmul(
                _handle, plan.Description, &one, weight, plan.Left, x, plan.Right, &zero, output, plan.Output, output, plan.Output, &algorithm,
                plan.WorkspaceBytes == 0 ? 0 : _workspace, plan.WorkspaceBytes, _stream.Handle),
            $"cublasLtMatmul ({shape})");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Forget();
        if (!_device.IsLost)
            _ = CublasLt.Destroy(_handle);
    }

    private void Forget()
    {
        foreach (Plan plan in _plans.Values)
            plan.Dispose();
        _plans.Clear();
    }

    /// <summary>Descriptors and the algorithm of one shape.</summary>
    private sealed class Plan : IDisposable
    {
        public Plan(BlasProducts owner, in Shape shape)
        {
            CudaDevice device = owner._device;
            nint description, preference;
            device.Check(CublasLt.MatmulCreate(&description, CublasLt.Compute32F, CublasType.F32), "cublasLtMatmulDescCreate");
            Description = description;
            int transpose = 1;
            device.Check(CublasLt.MatmulSet(description, MatmulAttribute.TransposeLeft, &transpose, sizeof(int)), "cublasLtMatmulDescSetAttribute");
            Left = Layout(device, shape.Type, shape.Inner, shape.Columns, shape.WeightStride);
            Right = Layout(device, shape.Type, shape.Inner, shape.Rows, shape.XStride);
            Output = Layout(device, CublasType.F32, shape.Columns, shape.Rows, shape.OutputStride);
            device.Check(CublasLt.PreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
            ulong bytes = (ulong)owner._workspaceBytes;
            device.Check(CublasLt.PreferenceSet(preference, PreferenceAttribute.MaxWorkspaceBytes, &bytes, sizeof(ulong)), "cublasLtMatmulPreferenceSetAttribute");
            MatmulHeuristic best;
            int found = 0;
            CublasStatus status = CublasLt.GetHeuristic(owner._handle, description, Left, Right, Output, Output, preference, 1, &best, &found);
            _ = CublasLt.PreferenceDestroy(preference);
            device.Check(status == CublasStatus.Success && found == 0 ? CublasStatus.NotSupported : status, $"cublasLtMatmulAlgoGetHeuristic ({shape})");
            Algorithm = best.Algorithm;
            WorkspaceBytes = best.WorkspaceBytes;
        }

        public nint Description { get; }

        public nint Left { get; }

        public nint Right { get; }

        public nint Output { get; }

        public MatmulAlgorithm Algorithm { get; }

        public nuint WorkspaceBytes { get; }

        public void Dispose()
        {
            _ = CublasLt.LayoutDestroy(Left);
            _ = CublasLt.LayoutDestroy(Right);
            _ = CublasLt.LayoutDestroy(Output);
            _ = CublasLt.MatmulDestroy(Description);
        }

        private static nint Layout(CudaDevice device, CublasType type, int rows, int columns, int stride)
        {
            nint layout;
            device.Check(CublasLt.LayoutCreate(&layout, type, (ulong)rows, (ulong)columns, stride), "cublasLtMatrixLayoutCreate");
            return layout;
        }
    }
}
