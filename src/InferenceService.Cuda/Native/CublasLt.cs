using System.Runtime.InteropServices;

namespace InferenceService.Cuda.Native;

/// <summary>Status of a cuBLASLt call (cublasStatus_t).</summary>
internal enum CublasStatus
{
    Success = 0,
    NotInitialized = 1,
    AllocationFailed = 3,
    InvalidValue = 7,
    ArchitectureMismatch = 8,
    MappingError = 11,
    ExecutionFailed = 13,
    InternalError = 14,
    NotSupported = 15,
    LicenseError = 16,
}

/// <summary>Element types (cudaDataType).</summary>
internal enum CublasType
{
    F32 = 0,
    F16 = 2,
    I8 = 3,
    I32 = 10,
    BF16 = 14,
}

/// <summary>cublasLtMatmulDescAttributes_t, as far as used.</summary>
internal enum MatmulAttribute
{
    TransposeLeft = 3,
    TransposeRight = 4,
}

/// <summary>cublasLtMatmulPreferenceAttributes_t, as far as used.</summary>
internal enum PreferenceAttribute
{
    MaxWorkspaceBytes = 1,
}

/// <summary>cublasLtMatmulAlgo_t: opaque.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MatmulAlgorithm
{
    private fixed ulong _data[8];
}

/// <summary>cublasLtMatmulHeuristicResult_t.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MatmulHeuristic
{
    public MatmulAlgorithm Algorithm;
    public nuint WorkspaceBytes;
    public CublasStatus State;
    public float WavesCount;
    private fixed int _reserved[4];
}

/// <summary>Matrix products. Signatures: NVIDIA, cuBLAS library reference 13.0, chapter "Using the cuBLASLt API". Matrices are column-major.</summary>
internal static unsafe partial class CublasLt
{
    /// <summary>CUBLAS_COMPUTE_32F: sums in f32, no TF32.</summary>
    public const int Compute32F = 68;

    private const string Library = NativeLibraries.CublasLt;

    [LibraryImport(Library, EntryPoint = "cublasLtCreate")]
    public static partial CublasStatus Create(nint* handle);

    [LibraryImport(Library, EntryPoint = "cublasLtDestroy")]
    public static partial CublasStatus Destroy(nint handle);

    [LibraryImport(Library, EntryPoint = "cublasLtGetVersion")]
    public static partial nuint GetVersion();

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescCreate")]
    public static partial CublasStatus MatmulCreate(nint* description, int compute, CublasType scale);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescSetAttribute")]
    public static partial CublasStatus MatmulSet(nint description, MatmulAttribute attribute, void* value, nuint bytes);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescDestroy")]
    public static partial CublasStatus MatmulDestroy(nint description);

    [LibraryImport(Library, EntryPoint = "cublasLtMatrixLayoutCreate")]
    public static partial CublasStatus LayoutCreate(nint* layout, CublasType type, ulong rows, ulong columns, long stride);

    [LibraryImport(Library, EntryPoint = "cublasLtMatrixLayoutDestroy")]
    public static partial CublasStatus LayoutDestroy(nint layout);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceCreate")]
    public static partial CublasStatus PreferenceCreate(nint* preference);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceSetAttribute")]
    public static partial CublasStatus PreferenceSet(nint preference, PreferenceAttribute attribute, void* value, nuint bytes);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceDestroy")]
    public static partial CublasStatus PreferenceDestroy(nint preference);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulAlgoGetHeuristic")]
    public static partial CublasStatus GetHeuristic(
        nint handle, nint description, nint left, nint right, nint addend, nint output, nint preference, int requested, MatmulHeuristic* results, int* count);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmul")]
    public static partial CublasStatus Matmul(
        nint handle, nint description, void* alpha, ulong left, nint leftLayout, ulong right, nint rightLayout, void* beta, ulong addend, nint addendLayout,
        ulong output, nint outputLayout, MatmulAlgorithm* algorithm, ulong workspace, nuint workspaceBytes, nint stream);

    /// <summary>Throws unless the status is a success.</summary>
    /// <param name="call">The call and the shape, for the message.</param>
    /// <exception cref="CudaException">The call failed.</exception>
    public static void Check(CublasStatus status, string call)
    {
        if (status == CublasStatus.Success)
            return;
        CudaFault fault = status switch
        {
            CublasStatus.AllocationFailed => CudaFault.Capacity,
            CublasStatus.MappingError or CublasStatus.ExecutionFailed => CudaFault.Sticky,
            CublasStatus.NotInitialized or CublasStatus.ArchitectureMismatch or CublasStatus.LicenseError => CudaFault.Unavailable,
            _ => CudaFault.Usage,
        };
        throw new CudaException((int)status, $"cuBLAS status {status}", call, fault, fault switch
        {
            CudaFault.Capacity => "The GPU has too little free memory.",
            CudaFault.Sticky => "The GPU's context is lost: the process must be restarted.",
            CudaFault.Unavailable => "cuBLASLt does not fit this GPU or driver: check their versions.",
            _ => "This is an error of the server, please report it.",
        });
    }
}
