using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace InferenceService.Benchmarks.Machine;

/// <summary>What a result must name to be worth keeping: CPU, cores, memory, runtime, commit.</summary>
internal sealed record MachineFacts(string Cpu, int Cores, long MemoryBytes, string Runtime, string Simd, string Commit)
{
    public static MachineFacts Read() => new(
        CpuName(),
        Environment.ProcessorCount,
        GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
        RuntimeInformation.FrameworkDescription,
        Avx512F.IsSupported ? "AVX-512" : Avx2.IsSupported ? "AVX2" : $"Vector{(Vector256.IsHardwareAccelerated ? 256 : 128)}",
        CommitName());

    public string ToMarkdown() =>
        $"{Cpu}, {Cores} cores, {MemoryBytes / (double)(1L << 30):F0} GiB, {Runtime}, {Simd}, commit {Commit}";

    private static string CpuName()
    {
        const string CpuInfo = "/proc/cpuinfo";
        if (!File.Exists(CpuInfo))
            return RuntimeInformation.ProcessArchitecture.ToString();
        string? name = null, family = null, model = null;
        foreach (string line in File.ReadLines(CpuInfo))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon < 0)
                continue;
            string value = line[(colon + 1)..].Trim();
            switch (line[..colon].Trim())
            {
                case "model name": name ??= value; break;
                case "cpu family": family ??= value; break;
                case "model": model ??= value; break;
            }
        }

        return $"{name ?? "unknown CPU"} (family {family ?? "?"}, model {model ?? "?"})";
    }

    private static string CommitName()
    {
        try
        {
            string hash = Git("rev-parse", "--short", "HEAD");
            return Git("status", "--porcelain", "--untracked-files=no").Length == 0 ? hash : $"{hash} with changes";
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or InvalidOperationException)
        {
            return "unknown";
        }
    }

    private static string Git(params string[] arguments)
    {
        var start = new ProcessStartInfo("git", arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process git = Process.Start(start) ?? throw new InvalidOperationException("git did not start.");
        string output = git.StandardOutput.ReadToEnd().Trim();
        git.WaitForExit();
        return git.ExitCode == 0 ? output : throw new InvalidOperationException("git failed.");
    }
}
