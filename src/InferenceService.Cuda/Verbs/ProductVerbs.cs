using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Verbs;

/// <summary>Products x · weightᵀ: which kernel or library computes which format.</summary>
internal sealed class ProductVerbs(CudaStream stream, KernelSet kernels, DeviceMemory memory, BlasProducts blas, bool deterministic)
{
    private const int Threads = 256, SkinnyOutputs = 16; // Kernels/rows.cu, Kernels/skinny.cu
    private const int IntegerOutputs = 128, IntegerRows = 64, IntegerColumns = 128; // Kernels/integer.cu
    private const int MostSkinnyRows = 16; // above, a product is bound by arithmetic: where exactly is to be measured

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
            Exact(x, weight, output);
    }

    /// <summary>A packed weight, which rounds x too. Few rows by kernels whose order of summation does not depend on the others, which thus serve any number where that is asked for.</summary>
    public void Packed(in Tensor x, in Weight weight, in Tensor output)
    {
        if (weight.Format == WeightFormat.BF16)
            Rounded(x, weight, output);
        else
            Integer(x, weight, output);
    }

    /// <summary>x to bfloat16: by the kernel itself, or before cuBLASLt.</summary>
    private void Rounded(in Tensor x, in Weight weight, in Tensor output)
    {
        if (deterministic || x.Rows <= MostSkinnyRows)
        {
            Skinny(x, weight, output, CudaBackend.Address(x), x.RowStride, 0, 0);
            return;
        }

        int stride = PackedRows.Stride(x.Columns);
        ulong rounded = memory.Scratch((long)x.Rows * stride * sizeof(ushort));
        var narrow = new NarrowArguments { X = CudaBackend.Address(x), Output = rounded, XStride = x.RowStride, OutputStride = stride, Columns = x.Columns, Padded = stride };
        kernels.Narrow.Launch(stream, narrow, (x.Rows, (stride + Threads - 1) / Threads, 1), Threads);
        blas.Multiply(new(CublasType.BF16, x.Rows, stride, weight.Rows, stride, stride, output.RowStride), rounded, CudaBackend.Address(weight.Memory), CudaBackend.Address(output));
    }

    /// <summary>x to signed bytes, then sums of products of integers, which are exact.</summary>
    private void Integer(in Tensor x, in Weight weight, in Tensor output)
    {
        int runs = PackedRows.Runs(x.Columns);
        long codeBytes = ((long)x.Rows * x.Columns + DeviceArena.Alignment - 1) / DeviceArena.Alignment * DeviceArena.Alignment;
        ulong codes = memory.Scratch(codeBytes + (long)x.Rows * runs * sizeof(float)), scales = codes + (ulong)codeBytes;
        var round = new RoundArguments { X = CudaBackend.Address(x), Codes = codes, Scales = scales, XStride = x.RowStride, Columns = x.Columns, Runs = runs };
        kernels.RoundRows.Launch(stream, round, (x.Rows, runs, 1), PackedRows.Run);
        if (deterministic || x.Rows <= 2 * MostSkinnyRows)
        {
            Skinny(x, weight, output, codes, 0, scales, runs);
            return;
        }

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
        (Kernel<IntegerArguments> kernel, int bits) = weight.Format == WeightFormat.Int8 ? (kernels.ProductInt8, 8) : (kernels.ProductInt4, 4);
        (long, long, long) grid = ((weight.Rows + IntegerOutputs - 1) / IntegerOutputs, (x.Rows + IntegerRows - 1) / IntegerRows, 1);
        kernel.Launch(stream, arguments, grid, Threads, 2 * IntegerColumns * (IntegerOutputs * bits / 8 + IntegerRows));
    }

    private void Skinny(in Tensor x, in Weight weight, in Tensor output, ulong values, int stride, ulong scales, int runs)
    {
        var arguments = new SkinnyArguments
        {
            X = values,
            Scales = scales,
            Weight = CudaBackend.Address(weight.Memory),
            Output = CudaBackend.Address(output),
            XStride = stride,
            WeightBytes = weight.Memory.RowBytes,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Inner = x.Columns,
            Columns = weight.Rows,
            Runs = runs,
        };
        (Kernel<SkinnyArguments> kernel, int rows) = kernels.Skinny(weight.Format, x.Rows);
        kernel.Launch(stream, arguments, ((weight.Rows + SkinnyOutputs - 1) / SkinnyOutputs, (x.Rows + rows - 1) / rows, 1), Threads);
    }

    private void Exact(in Tensor x, in Tensor weight, in Tensor output)
    {
        const int tile = 32;
        var arguments = new ProductArguments
        {
            X = CudaBackend.Address(x),
            Weight = CudaBackend.Address(weight),
            Output = CudaBackend.Address(output),
            XStride = x.RowStride,
            WeightStride = weight.RowStride,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Inner = x.Columns,
            Columns = weight.Rows,
        };
        kernels.Product[(int)weight.Type].Launch(stream, arguments, ((weight.Rows + tile - 1) / tile, (x.Rows + tile - 1) / tile, 1), 128);
    }
}
