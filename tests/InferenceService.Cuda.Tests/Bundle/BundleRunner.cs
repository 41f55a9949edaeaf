using System.Diagnostics;
using System.Reflection;
using InferenceService.Compute.Tests;
using Xunit.Sdk;

namespace InferenceService.Cuda.Tests.Bundle;

/// <summary>Runs this assembly's tests and measurements without an SDK, and prints a short table last: what tests/gpu/run.sh calls.</summary>
internal static class BundleRunner
{
    /// <summary>Arguments: parts of class or test names, "timings", or "policies" and part of a policy's name; none = everything. Exit code 1 when a test fails, 2 when nothing can run.</summary>
    private static async Task<int> Main(string[] filters)
    {
        TextWriter output = Console.Out;
        if (CudaUnderTest.Missing is { } missing)
        {
            await output.WriteLineAsync($"Nothing can run here: {missing}.");
            return 2;
        }

        try
        {
            await output.WriteLineAsync($"device: {CudaUnderTest.Name}");
        }
        catch (CudaException e)
        {
            await output.WriteLineAsync($"The device cannot be used: {e.Message}");
            return 2;
        }

        var tally = new SortedDictionary<string, (int Passed, int Failed, int Skipped, double Seconds)>(StringComparer.Ordinal);
        foreach ((Type type, MethodInfo test, object?[] arguments) in Tests(filters))
        {
            (int passed, int failed, int skipped, double seconds) = tally.GetValueOrDefault(type.Name);
            var watch = Stopwatch.StartNew();
            bool skip = type.GetCustomAttribute<RequirementAttribute>()?.Missing is not null;
            Exception? failure = skip ? null : await RunAsync(type, test, arguments);
            if (failure is not null)
                await output.WriteLineAsync($"FAILED {type.Name}.{test.Name}: {failure}");
            tally[type.Name] = (passed + (skip || failure is not null ? 0 : 1), failed + (failure is null ? 0 : 1), skipped + (skip ? 1 : 0), seconds + watch.Elapsed.TotalSeconds);
        }

        List<string> measured = [];
        bool whole = true;
        if (filters.Length == 0 || filters.Contains("timings"))
            whole = Measure(measured, "kernels", Measurements.Take) & Measure(measured, "decode steps", DecodeSteps.Take) & Measure(measured, "prompts", PromptSteps.Take);
        if (filters.Length == 0 || filters.Contains("policies"))
            whole &= Measure(measured, "policies", () => PolicyLoads.Take(filters.SkipWhile(filter => filter != "policies").Skip(1).FirstOrDefault()));
        await output.WriteLineAsync($"\ndevice: {CudaUnderTest.Name}");
        foreach ((string name, (int passed, int failed, int skipped, double seconds)) in tally)
            await output.WriteLineAsync($"{name,-34} {passed,4} passed {failed,3} failed {skipped,3} skipped {seconds,7:F1} s");
        foreach (string line in measured)
            await output.WriteLineAsync(line);
        return whole && !tally.Values.Any(one => one.Failed > 0) ? 0 : 1;
    }

    /// <summary>One that fails is a line of the table, and costs neither the lines before it nor what comes after.</summary>
    private static bool Measure(List<string> lines, string what, Func<IEnumerable<string>> take)
    {
        try
        {
            foreach (string line in take())
                lines.Add(line);
            return true;
        }
#pragma warning disable CA1031 // Whatever it was: hours of a GPU must not end without their table.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            lines.Add($"FAILED measuring {what}: {failure.GetType().Name}: {failure.Message}");
            return false;
        }
    }

    private static IEnumerable<(Type Type, MethodInfo Test, object?[] Arguments)> Tests(string[] filters)
    {
        foreach (Type type in typeof(BundleRunner).Assembly.GetExportedTypes().Where(type => type is { IsClass: true, IsAbstract: false }).OrderBy(type => type.Name, StringComparer.Ordinal))
        {
            foreach (MethodInfo test in type.GetMethods().Where(method => method.GetCustomAttribute<FactAttribute>() is not null).OrderBy(method => method.Name, StringComparer.Ordinal))
            {
                if (filters.Length > 0 && !filters.Any(filter => $"{type.Name}.{test.Name}".Contains(filter, StringComparison.OrdinalIgnoreCase)))
                    continue;
                DataAttribute[] data = [.. test.GetCustomAttributes<DataAttribute>()];
                foreach (object?[] arguments in data.Length == 0 ? [[]] : data.SelectMany(one => one.GetData(test)))
                    yield return (type, test, arguments);
            }
        }
    }

    private static async Task<Exception?> RunAsync(Type type, MethodInfo test, object?[] arguments)
    {
        object? instance = null;
        try
        {
            instance = Activator.CreateInstance(type);
            object?[] converted = [.. arguments.Zip(test.GetParameters(), (value, parameter) =>
                parameter.ParameterType.IsEnum && value is int number ? Enum.ToObject(parameter.ParameterType, number) : value)];
            if (test.Invoke(instance, converted) is Task task)
                await task;
            return null;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return e is TargetInvocationException { InnerException: { } inner } ? inner : e;
        }
        finally
        {
            (instance as IDisposable)?.Dispose();
        }
    }
}
