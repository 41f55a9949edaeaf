using System.Diagnostics;

namespace InferenceService.Server.Tests;

/// <summary>The process itself: exit codes and signals.</summary>
public sealed class ProgramTests
{
    [Fact]
    public async Task A_wrong_flag_ends_with_code_2_and_no_stack_trace()
    {
        using Process process = Start("--prot", "1");
        Assert.Equal("error: --prot is not a flag; did you mean --port?", (await process.StandardError.ReadToEndAsync()).Trim());
        Assert.Equal("", await process.StandardOutput.ReadToEndAsync());
        await process.WaitForExitAsync();
        Assert.Equal(2, process.ExitCode);
    }

    [Fact]
    public async Task A_model_that_is_not_there_ends_with_code_1()
    {
        using Process process = Start("--model", "/no/such/model", "--port", "0");
        Assert.StartsWith("error: --model: \"/no/such/model\" is neither", await process.StandardError.ReadToEndAsync(), StringComparison.Ordinal);
        await process.WaitForExitAsync();
        Assert.Equal(1, process.ExitCode);
    }

    [Fact]
    public async Task A_key_file_that_is_not_there_ends_with_code_2()
    {
        using Process process = Start("--model", TinyModel.Folder, "--port", "0", "--api-key-file", "/no/such/file");
        Assert.Equal("error: --api-key-file: /no/such/file cannot be read (no such file)", (await process.StandardError.ReadToEndAsync()).Trim());
        await process.WaitForExitAsync();
        Assert.Equal(2, process.ExitCode);
    }

    [Fact]
    public async Task A_GPU_that_cannot_be_used_ends_with_code_1_and_never_falls_back()
    {
        using Process process = Start("--model", TinyModel.Folder, "--port", "0", "--device", "cuda", "--kv-cache-memory-bytes", "64T");
        string error = (await process.StandardError.ReadToEndAsync()).Trim();
        Assert.StartsWith("error: ", error, StringComparison.Ordinal);
        Assert.Single(error.Split('\n'));
        if (!File.Exists("/dev/nvidiactl") && !File.Exists("/dev/dxg"))
            Assert.StartsWith("error: libcuda.so.1 was not found. Install NVIDIA's driver ", error, StringComparison.Ordinal);
        Assert.DoesNotContain("Listening", await process.StandardOutput.ReadToEndAsync(), StringComparison.Ordinal);
        await process.WaitForExitAsync();
        Assert.Equal(1, process.ExitCode);
    }

    [Theory]
    [InlineData("TERM")]
    [InlineData("INT")]
    public async Task A_signal_ends_a_serving_process_in_order(string signal)
    {
        using Process process = Start("--model", TinyModel.Folder, "--port", "0", "--threads", "1");
        string? line;
        while ((line = await process.StandardOutput.ReadLineAsync()) is not null && !line.StartsWith("curl -N http://127.0.0.1:", StringComparison.Ordinal))
        {
        }

        Assert.NotNull(line);
        using (Process kill = Process.Start("/bin/sh", ["-c", $"kill -{signal} {process.Id}"]))
            await kill.WaitForExitAsync();
        await process.WaitForExitAsync();
        Assert.Equal(0, process.ExitCode);
    }

    private static Process Start(params string[] args)
    {
        string server = Path.Combine(AppContext.BaseDirectory, "InferenceService.Server.dll");
        var start = new ProcessStartInfo("dotnet", [server, .. args]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["INFERENCE__Server__DrainDelay"] = "0";
        start.Environment["INFERENCE__Server__AdminPort"] = "none";
        start.Environment["DOTNET_ENVIRONMENT"] = "Testing";
        return Process.Start(start)!;
    }
}
