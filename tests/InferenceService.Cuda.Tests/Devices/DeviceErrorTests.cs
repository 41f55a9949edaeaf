using InferenceService.Compute;
using InferenceService.Compute.Tests;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Tests.Devices;

/// <summary>Failing calls, injected into the stand-ins.</summary>
[RequiresEmulation]
public sealed class DeviceErrorTests : IDisposable
{
    private readonly string _device = CudaUnderTest.Name; // builds the emulation

    public void Dispose() => Emulation.Heal();

    [ContractFact]
    public void A_failed_call_names_itself_its_code_and_what_to_do()
    {
        Emulation.Fail("cuDevicePrimaryCtxRetain", 100);
        CudaException e = Assert.Throws<CudaException>(() => CudaDevice.Open(CudaUnderTest.Options));
        Assert.Equal((100, "CUDA_ERROR_NO_DEVICE", CudaFault.Unavailable), (e.Code, e.Name, e.Fault));
        Assert.Equal($"cuDevicePrimaryCtxRetain ({_device})", e.Call);
        Assert.Contains("--gpus", e.Message, StringComparison.Ordinal);
    }

    [ContractFact]
    public void A_device_that_is_not_there_is_named() =>
        Assert.Equal(
            "Device 3 was asked for; this machine has devices 0 to 0.",
            Assert.Throws<CudaException>(() => CudaDevice.Open(CudaUnderTest.Options with { Device = 3 })).Message);

    [ContractFact]
    public void Too_little_memory_leaves_the_device_usable()
    {
        using CudaBackend backend = CudaUnderTest.Backend();
        CudaException e = Assert.Throws<CudaException>(() => backend.Allocate(DType.U8, 1 << 20, 1 << 20));
        Assert.Equal(CudaFault.Capacity, e.Fault);
        Assert.False(backend.Device.IsLost);
        byte[] bytes = [1, 2, 3];
        Tensor tensor = backend.Allocate(DType.U8, 1, 3);
        backend.Upload(bytes, tensor);
        byte[] back = new byte[3];
        backend.Download(tensor, back);
        Assert.Equal(bytes, back);
    }

    [ContractFact]
    public void A_lost_context_fails_every_later_call_and_disposing_is_silent()
    {
        CudaDevice device = CudaDevice.Open(CudaUnderTest.Options);
        var kernels = new KernelSet(device, CudaUnderTest.Options);
        var backend = new CudaBackend(device, kernels, CudaUnderTest.Options);
        Tensor x = backend.Allocate(DType.F32, 1, 4);
        Emulation.Fail("cuLaunchKernel", 700);
        CudaException e = Assert.Throws<CudaException>(() => backend.Add(x, x));
        Assert.Equal((700, CudaFault.Sticky, "cuLaunchKernel (add)"), (e.Code, e.Fault, e.Call));
        Assert.True(device.IsLost);
        Assert.Equal(CudaFault.Sticky, Assert.Throws<CudaException>(() => backend.Download(x, new byte[16])).Fault);
        backend.Dispose();
        kernels.Dispose();
        device.Dispose();
    }

    [ContractFact]
    public void A_source_that_does_not_compile_shows_the_compilers_words()
    {
        var compiler = new KernelCompiler(80, new CubinCache(null));
        CudaException e = Assert.Throws<CudaException>(() => compiler.Compile(new KernelSource("nothing.cu", "", [("prelude.cuh", "")])));
        Assert.Equal("nvrtcCompileProgram (nothing.cu)", e.Call);
        Assert.Contains("without this file", e.Message, StringComparison.Ordinal);
        Assert.Throws<CudaException>(() => new KernelCompiler(70, new CubinCache(null)));
    }

    [ContractFact]
    public void A_parameter_of_another_size_is_refused()
    {
        nint module = Load();
        InvalidOperationException e = Assert.Throws<InvalidOperationException>(() => new Kernel<long>(CudaUnderTest.Device, module, "add"));
        Assert.Equal("Kernel add takes 40 bytes, Int64 has 8.", e.Message);
        Assert.Equal(500, Assert.Throws<CudaException>(() => new Kernel<long>(CudaUnderTest.Device, module, "subtract")).Code);
    }

    private static unsafe nint Load()
    {
        nint module;
        CudaUnderTest.Device.MakeCurrent();
        fixed (byte* image = "EMULATED CUBIN rows\n\0"u8)
            CudaDriver.Check(CudaDriver.ModuleLoad(&module, image, 0, null, null), "cuModuleLoadDataEx");
        return module;
    }
}
