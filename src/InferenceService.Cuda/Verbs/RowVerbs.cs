using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>The verbs that work row by row: arguments and launch shapes of Kernels/rows.cu.</summary>
internal sealed class RowVerbs(CudaStream stream, KernelSet kernels, FaultRecord fault)
{
    private const int Threads = 256, Share = 2048; // of a row, by a CTA: Kernels/rows.cu

    public void Embed(in Tensor table, in Tensor ids, in Tensor output)
    {
        var arguments = new EmbedArguments
        {
            Table = CudaBackend.Address(table),
            Ids = CudaBackend.Address(ids),
            Output = CudaBackend.Address(output),
            Fault = fault.Address,
            TableStride = table.RowStride,
            OutputStride = output.RowStride,
            Type = (int)table.Type,
            Columns = table.Columns,
            Entries = table.Rows,
        };
        kernels.Embed.Launch(stream, arguments, (ids.Columns, 1, 1), 128);
    }

    public void Rope(in Tensor x, in Tensor cosSin, int headDim)
    {
        int half = cosSin.Columns / 2;
        var arguments = new RopeArguments
        {
            X = CudaBackend.Address(x),
            CosSin = CudaBackend.Address(cosSin),
            XStride = x.RowStride,
            CosSinStride = cosSin.RowStride,
            Columns = x.Columns,
            HeadDim = headDim,
            Half = half,
        };
        kernels.Rope.Launch(stream, arguments, (x.Rows, ((long)(x.Columns / headDim) * half + 127) / 128, 1), 128);
    }

    public void SiluMultiply(in Tensor gate, in Tensor up, in Tensor output)
    {
        var arguments = new SiluArguments
        {
            Gate = CudaBackend.Address(gate),
            Up = CudaBackend.Address(up),
            Output = CudaBackend.Address(output),
            GateStride = gate.RowStride,
            UpStride = up.RowStride,
            OutputBytes = output.RowBytes,
            Columns = gate.Columns,
            Form = (int)output.Type,
        };
        kernels.SiluMultiply.Launch(stream, arguments, (gate.Rows, (gate.Columns + Share - 1) / Share, 1), Threads);
    }

    /// <summary>With <paramref name="add"/>: x += add first.</summary>
    public void Norm(Tensor? add, in Tensor x, in Tensor weight, float epsilon, in Tensor output)
    {
        var arguments = new NormArguments
        {
            Add = add is { } other ? CudaBackend.Address(other) : 0,
            X = CudaBackend.Address(x),
            Weight = CudaBackend.Address(weight),
            Output = CudaBackend.Address(output),
            AddStride = add?.RowStride ?? 0,
            XStride = x.RowStride,
            OutputBytes = output.RowBytes,
            Type = (int)weight.Type,
            Columns = weight.Columns,
            Epsilon = epsilon,
            Form = (int)output.Type,
        };
        kernels.RmsNorm.Launch(stream, arguments, (x.Rows, x.Columns / weight.Columns, 1), Threads);
    }

    /// <summary>x in the form of a product's operand.</summary>
    public void Operand(in Tensor x, DType form, ulong output, long outputBytes)
    {
        var arguments = new OperandArguments
        {
            X = CudaBackend.Address(x),
            Output = output,
            XStride = x.RowStride,
            OutputBytes = outputBytes,
            Columns = x.Columns,
            Form = (int)form,
        };
        kernels.Operand.Launch(stream, arguments, (x.Rows, (x.Columns + Share - 1) / Share, 1), Threads);
    }

    /// <summary>Adds x to every row of the target; a stride of 0 is one row for all.</summary>
    public void Add(in Tensor x, int stride, in Tensor target)
    {
        var arguments = new AddArguments
        {
            X = CudaBackend.Address(x),
            Target = CudaBackend.Address(target),
            XStride = stride,
            TargetStride = target.RowStride,
            Type = (int)x.Type,
            Columns = target.Columns,
        };
        kernels.Add.Launch(stream, arguments, Tiles(target.Rows, target.Columns), Threads);
    }

    private static (long X, long Y, long Z) Tiles(int rows, int columns) => (rows, (columns + Threads - 1) / Threads, 1);
}
