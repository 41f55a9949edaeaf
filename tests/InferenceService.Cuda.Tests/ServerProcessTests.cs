using System.Diagnostics;
using System.Text;
using InferenceService.Compute.Tests;
using InferenceService.Server.Tests.Api;

namespace InferenceService.Cuda.Tests;

/// <summary>The server as it is deployed: its own process, the built-in model, the device, an ordered end.</summary>
[RequiresCuda]
public sealed class ServerProcessTests
{
    private const string Story = """{"temperature":0,"max_tokens":12,"prompt":"Once upon a time there was a little"}""";

    [ContractFact]
    public async Task The_built_in_model_tells_on_the_device_what_it_tells_on_the_processor()
    {
        _ = CudaUnderTest.Name; // builds the emulation
        string expected = await TellAsync("--device", "cpu", "--dtype", "bfloat16", "--threads", "1");
        Assert.True(expected.Length > 20, $"\"{expected}\" is too short to mean anything.");
        Assert.Equal(expected, await TellAsync("--device", "cuda"));
    }

    private static async Task<string> TellAsync(params string[] flags)
    {
        string server = Path.Combine(AppContext.BaseDirectory, "InferenceService.Server.dll"), dotnet = Environment.ProcessPath!;
        if (Path.GetFileNameWithoutExtension(dotnet) != "dotnet")
            dotnet = "dotnet";
        var start = new ProcessStartInfo(dotnet, [server, "--port", "0", "--admin-port", "none", "--max-num-seqs", "2", "--max-num-batched-tokens", "32", "--max-model-len", "64", .. flags])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        (start.Environment["INFERENCE__Server__DrainDelay"], start.Environment["INFERENCE__Cuda__CubinCache"]) = ("0", "none");
        for (int i = 0; i < CudaUnderTest.Options.LibraryPath.Count; i++)
            start.Environment[$"INFERENCE__Cuda__LibraryPath__{i}"] = CudaUnderTest.Options.LibraryPath[i];
        using Process process = Process.Start(start)!;
        var errors = new StringBuilder();
        process.ErrorDataReceived += (_, line) => errors.AppendLine(line.Data);
        process.BeginErrorReadLine();
        const string listening = "Listening on ";
        string? said;
        while ((said = await process.StandardOutput.ReadLineAsync()) is not null && !said.StartsWith(listening, StringComparison.Ordinal))
        {
        }

        Assert.True(said is not null, errors.ToString());
        using var client = new HttpClient { BaseAddress = new Uri(said[listening.Length..]) };
        string text = (await ApiClient.PostAsync(client, "/v1/completions", Story)).GetProperty("choices")[0].GetProperty("text").GetString()!;
        using (Process kill = Process.Start("/bin/sh", ["-c", $"kill -TERM {process.Id}"]))
            await kill.WaitForExitAsync();
        _ = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"exit code {process.ExitCode}: {errors}");
        return text;
    }
}
