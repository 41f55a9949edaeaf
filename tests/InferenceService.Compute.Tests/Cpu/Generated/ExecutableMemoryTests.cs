using InferenceService.Compute.Cpu.Generated;

namespace InferenceService.Compute.Tests.Cpu.Generated;

[RequiresExecutableMemory]
public sealed unsafe class ExecutableMemoryTests
{
    private static readonly byte[] Return42 = [0xB8, 42, 0, 0, 0, 0xC3]; // mov eax, 42; ret

    [ContractFact]
    public void Code_runs()
    {
        using ExecutableMemory memory = ExecutableMemory.TryCreate(Return42)!;
        Assert.Equal(42, ((delegate* unmanaged<int>)memory.Address)());
    }

    [ContractFact]
    public void Pages_that_can_run_cannot_be_written()
    {
        using ExecutableMemory memory = ExecutableMemory.TryCreate(Return42)!;
        if (OperatingSystem.IsLinux())
            Assert.Equal("r-xp", Permissions(memory.Address));
    }

    [ContractFact]
    public void Pages_go_back_when_disposed_once_or_twice()
    {
        ExecutableMemory memory = ExecutableMemory.TryCreate(new byte[3 << 20])!;
        nint address = memory.Address + (1 << 20);
        memory.Dispose();
        memory.Dispose();
        Assert.Equal(0, memory.Address);
        if (OperatingSystem.IsLinux())
            Assert.NotEqual("r-xp", Permissions(address));
    }

    [ContractFact]
    public void A_backend_gives_its_kernels_back()
    {
        var kernels = new GeneratedKernels();
        nint address = kernels.For(WeightFormat.Int8)![0];
        if (OperatingSystem.IsLinux())
            Assert.Equal("r-xp", Permissions(address));
        kernels.Dispose();
        if (OperatingSystem.IsLinux())
            Assert.NotEqual("r-xp", Permissions(address));
    }

    /// <summary>Permissions of the mapping that holds an address, as Linux shows them; empty when there is none.</summary>
    private static string Permissions(nint address)
    {
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            string[] parts = line.Split(' ');
            string[] range = parts[0].Split('-');
            if (address >= nint.Parse(range[0], System.Globalization.NumberStyles.HexNumber) && address < nint.Parse(range[1], System.Globalization.NumberStyles.HexNumber))
                return parts[1];
        }

        return "";
    }
}
