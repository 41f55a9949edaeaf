using System.Diagnostics;

namespace InferenceService.Fuzz.Coverage;

/// <summary>Starts this program again on instrumented copies of our assemblies.</summary>
internal static class Instrumented
{
    /// <summary>Runs to the end.</summary>
    /// <returns>Its exit code.</returns>
    public static int Run(string[] arguments)
    {
        string from = AppContext.BaseDirectory, to = Path.Combine(Path.GetTempPath(), $"inference-fuzz-{Environment.ProcessId}");
        try
        {
            Instrumenter.CopyInstrumented(from, to);
            var start = new ProcessStartInfo("dotnet") { UseShellExecute = false };
            start.ArgumentList.Add(Path.Combine(to, "InferenceService.Fuzz.dll"));
            foreach (string argument in arguments)
                start.ArgumentList.Add(argument);
            using Process process = Process.Start(start)!;
            process.WaitForExit();
            return process.ExitCode;
        }
        finally
        {
            Directory.Delete(to, recursive: true);
        }
    }
}
