using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Verbs;

/// <summary>Products x · weightᵀ: which kernel or library computes which format.</summary>
internal sealed class ProductVerbs(CudaStream stream, KernelSet kernels, DeviceMemory memory, BlasProducts blas, bool deterministic)
{
    private const int Threads = 256; // Kernels/rows.cu

    /// <summary>A stored weight: f32 by cuBLASLt, 16 bits widened in our own kernel, which also serves where rows must not depend on each other.</summary>
    public void Stored(in Tensor x, in Tensor weight, in Tensor output)
    {
        if (weight.Type == DType.F32 && !deterministic && x.Rows > 0 && weight.Rows > 0)
        {
            blas.Multiply(
                new(CublasType.F32, x.Rows, x.Columns, weight.Rows, x.RowStride, weight.RowStride, output.RowStride),
                CudaBackend.Address(x), CudaBackend.Address(weight), CudaBackend.Address(output));
        }
        else
            Exact(kernels.Product[(int)weight.Type], CudaBackend.Address(x), x.RowStride, x.Rows, x.Columns, CudaBackend.Address(weight), weight.RowStride, output);
    }

    /// <summary>A packed weight, which rounds x too.</summary>
    public void Packed(in Tensor x, in Weight weight, in Tensor output)
    {
        if (weight.Format == WeightFormat.BF16)
            Rounded(x, weight, output);
        else
            Integer(x, weight, output);
    }

    /// <summary>x to bfloat16, then cuBLASLt.</summary>
    private void Rounded(in Tensor x, in Weight weight, in Tensor output)
    {
        int stride = PackedRows.Stride(x.Columns);
        ulong rounded = memory.Scratch((long)x.Rows * stride * sizeof(ushort));
        var narrow = new NarrowArguments { X = CudaBackend.Address(x), Output = rounded, XStride = x.RowStride, OutputStride = stride, Columns = x.Columns, Padded = stride };
        kernels.Narrow.Launch(stream, narrow, (x.Rows, (stride + Threads - 1) / Threads, 1), Threads);
        if (deterministic)
            Exact(kernels.ProductRounded, rounded, stride, x.Rows, x.Columns, CudaBackend.Address(weight.Memory), stride, output);
        else
            blas.Multiply(new(CublasType.BF16, x.Rows, stride, weight.Rows, stride, stride, output.RowStride), rounded, CudaBackend.Address(weight.Memory), CudaBackend.Address(output));
    }

    /// <summary>x to signed bytes, then our own kernel, whose sums do not depend on the other rows.</summary>
    private void Integer(in Tensor x, in Weight weight, in Tensor output)
    {
        int runs = PackedRows.Runs(x.Columns);
        long codeBytes = ((long)x.Rows * x.Columns + DeviceArena.Alignment - 1) / DeviceArena.Alignment * DeviceArena.Alignment;
        ulong codes = memory.Scratch(codeBytes + (long)x.Rows * runs * sizeof(float)), scales = codes + (ulong)codeBytes;
        var round = new RoundArguments { X = CudaBackend.Address(x), Codes = codes, Scales = scales, XStride = x.RowStride, Columns = x.Columns, Runs = runs };
        kernels.RoundRows.Launch(stream, round, (x.Rows, runs, 1), PackedRows.Run);
        var arguments = new IntegerArguments
        {
            Codes = codes,
            Scales = scales,
            Weight = CudaBackend.Address(weight.Memory),
            Output = CudaBackend.Address(output),
            WeightBytes = weight.Memory.RowStride,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Inner = x.Columns,
            Columns = weight.Rows,
            Runs = runs,
        };
        const int tile = 4;
        (weight.Format == WeightFormat.Int8 ? kernels.ProductInt8 : kernels.ProductInt4)
            .Launch(stream, arguments, ((weight.Rows + tile - 1) / tile, (x.Rows + tile - 1) / tile, 1), 128);
    }

    private void Exact(Kernel<ProductArguments> kernel, ulong x, int xStride, int rows, int inner, ulong weight, int weightStride, in Tensor output)
    {
        const int tile = 32;
        var arguments = new ProductArguments
        {
            X = x,
            Weight = weight,
            Output = CudaBackend.Address(output),
            XStride = xStride,
            WeightStride = weightStride,
            OutputStride = output.RowStride,
            Rows = rows,
            Inner = inner,
            Columns = output.Columns,
        };
        kernel.Launch(stream, arguments, ((output.Columns + tile - 1) / tile, (rows + tile - 1) / tile, 1), 128);
    }
}
