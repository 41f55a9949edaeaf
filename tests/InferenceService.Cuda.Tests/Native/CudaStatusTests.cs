using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Tests.Native;

public sealed class CudaStatusTests
{
    [Theory]
    [InlineData(2, CudaFault.Capacity)]
    [InlineData(701, CudaFault.Capacity)]
    [InlineData(1, CudaFault.Usage)]
    [InlineData(400, CudaFault.Usage)]
    [InlineData(500, CudaFault.Usage)]
    [InlineData(900, CudaFault.Usage)]
    [InlineData(214, CudaFault.Sticky)]
    [InlineData(700, CudaFault.Sticky)]
    [InlineData(710, CudaFault.Sticky)]
    [InlineData(716, CudaFault.Sticky)]
    [InlineData(719, CudaFault.Sticky)]
    [InlineData(999, CudaFault.Sticky)]
    [InlineData(100, CudaFault.Unavailable)]
    [InlineData(803, CudaFault.Unavailable)]
    public void A_status_means_one_thing_for_the_process(int code, CudaFault fault)
    {
        Assert.Equal(fault, ((CudaStatus)code).Fault());
        Assert.False(string.IsNullOrEmpty(((CudaStatus)code).Advice()));
    }
}
