using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Verbs;

/// <summary>Products x · weightᵀ: which kernel or library computes which format.</summary>
internal sealed class ProductVerbs(CudaStream stream, KernelSet kernels, DeviceMemory memory, RowVerbs rows, BlasProducts blas, bool deterministic)
{
    private const int Threads = 256, SkinnyOutputs = 16; // of all kernels; Kernels/skinny.cu
    private const int IntegerOutputs = 128, IntegerRows = 64, IntegerColumns = 128; // Kernels/integer.cu
    private const int MostSkinnyRows = 16, MostIntegerRows = 32; // above, a product is bound by arithmetic, where exactly is to be measured

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

    /// <summary>
    /// A packed weight, which rounds x too, if it is not an operand already. Few rows by kernels whose order of summation does not depend on the
    /// others, which thus serve any number where that is asked for.
    /// </summary>
    public void Packed(in Tensor x, in Weight weight, in Tensor output)
    {
        DType form = Operands.TypeOf(weight.Format);
        if (x.Type != DType.F32 && x.Type != form)
            throw new ShapeException($"x is {x.Type}; products with {weight.Format} weights read F32 or {form}.");
        bool bytes = form == DType.U8, skinny = deterministic || x.Rows <= (bytes ? MostIntegerRows : MostSkinnyRows);
        (ulong operand, int stride) = (CudaBackend.Address(x), x.RowStride);
        if (x.Type == DType.F32 && (bytes || !skinny)) // the others round on the way
        {
            stride = Operands.Stride(form, x.Columns);
            operand = memory.Scratch((long)x.Rows * stride * form.Size());
            rows.Operand(x, form, operand, (long)stride * form.Size());
        }

        if (skinny)
            Skinny(x, weight, output, operand, x.Type == DType.F32 && !bytes ? x.RowBytes : (long)stride * form.Size());
        else if (bytes)
            Integer(x, weight, output, operand, stride);
        else
        {
            int inner = PackedRows.Stride(x.Columns);
            blas.Multiply(
                new(form == DType.F16 ? CublasType.F16 : CublasType.BF16, x.Rows, inner, weight.Rows, stride, inner, output.RowStride),
                operand, CudaBackend.Address(weight.Memory), CudaBackend.Address(output));
        }
    }

    /// <summary>Sums of products of integers, which are exact, by tiles.</summary>
    private void Integer(in Tensor x, in Weight weight, in Tensor output, ulong codes, long codeBytes)
    {
        var arguments = new IntegerArguments
        {
            Codes = codes,
            Weight = CudaBackend.Address(weight.Memory),
            Output = CudaBackend.Address(output),
            CodeBytes = codeBytes,
            WeightBytes = weight.Memory.RowStride,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Inner = x.Columns,
            Columns = weight.Rows,
        };
        (Kernel<IntegerArguments> kernel, int bits) = weight.Format == WeightFormat.Int8 ? (kernels.ProductInt8, 8) : (kernels.ProductInt4, 4);
        (long, long, long) grid = ((weight.Rows + IntegerOutputs - 1) / IntegerOutputs, (x.Rows + IntegerRows - 1) / IntegerRows, 1);
        kernel.Launch(stream, arguments, grid, Threads, 2 * IntegerColumns * (IntegerOutputs * bits / 8 + IntegerRows));
    }

    private void Skinny(in Tensor x, in Weight weight, in Tensor output, ulong values, long rowBytes)
    {
        var arguments = new SkinnyArguments
        {
            X = values,
            Weight = CudaBackend.Address(weight.Memory),
            Output = CudaBackend.Address(output),
            XBytes = rowBytes,
            WeightBytes = weight.Memory.RowBytes,
            OutputStride = output.RowStride,
            Rows = x.Rows,
            Inner = x.Columns,
            Columns = weight.Rows,
        };
        (Kernel<SkinnyArguments> kernel, int most) = kernels.Skinny(weight.Format, x.Rows, asIs: x.Type != DType.F32);
        kernel.Launch(stream, arguments, ((weight.Rows + SkinnyOutputs - 1) / SkinnyOutputs, (x.Rows + most - 1) / most, 1), Threads);
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
