using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Verbs;

/// <summary>The choice of tokens: arguments and launch shape of Kernels/sampling.cu.</summary>
internal sealed class SamplingVerbs(CudaStream stream, KernelSet kernels, FaultRecord fault)
{
    private const int Threads = 256;

    public void Choose(in Tensor logits, in Tensor orders, in Tensor changes, in Tensor tokens, in Tensor next) => kernels.Sample.Launch(
        stream,
        new SampleArguments
        {
            Logits = CudaBackend.Address(logits),
            Orders = CudaBackend.Address(orders),
            Changes = CudaBackend.Address(changes),
            Tokens = CudaBackend.Address(tokens),
            Next = CudaBackend.Address(next),
            Fault = fault.Address,
            Stride = logits.RowStride,
            Rows = logits.Rows,
            Vocabulary = logits.Columns,
            Entries = changes.Rows,
            NextRows = next.Columns,
        },
        (orders.Rows, 1, 1), Threads);
}
