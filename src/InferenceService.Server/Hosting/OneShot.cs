using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting.Admin;
using InferenceService.Server.Hosting.Devices;
using InferenceService.Server.Hub;
using InferenceService.Server.Security;

namespace InferenceService.Server.Hosting;

/// <summary>What the process does instead of serving: help, version, complaints, a health check, a download, settings, the memory plan.</summary>
internal static class OneShot
{
    /// <summary>Does it and returns the exit code; null = go on and serve.</summary>
    public static async Task<int?> RunAsync(CommandLine commandLine, ConfigurationReading reading, ProcessEnvironment environment, StartupConsole console)
    {
        if (commandLine.WantsHelp)
        {
            commandLine.WriteHelp(console.Output);
            return ServerRun.Success;
        }

        if (commandLine.WantsVersion)
        {
            console.Line($"{ServerVersion.Text} ({ServerVersion.Commit}, {ServerVersion.Runtime})");
            return ServerRun.Success;
        }

        foreach (string problem in reading.Problems)
            console.Problem(problem);
        if (reading.Problems.Count > 0)
            return ServerRun.Misconfigured;
        if (commandLine.HealthCheck)
            return HealthCheck.Run(reading.Options.Server, environment.InContainer, console);
        foreach (string warning in reading.Warnings)
            console.Warning(warning);
        if (commandLine.DownloadOnly)
            return await DownloadCommand.RunAsync(reading.Options, environment, console);
        if (commandLine.PrintConfig)
        {
            PrintSettings(reading, console);
            PrintCaches(reading.Options, environment, console);
            return ServerRun.Success;
        }

        if (commandLine.WantsCapacity)
        {
            CapacityMix? mix = null;
            if (commandLine.CapacityMix is { } text && CapacityMix.Parse(text, out mix) is { } wrong)
            {
                console.Problem($"--plan-capacity: {wrong}");
                return ServerRun.Misconfigured;
            }

            return PrintPlans(reading.Options, environment, console, (plan, opened, device) => CapacityReport.Print(console, plan, opened, device, mix));
        }

        return commandLine.DryRun
            ? PrintPlans(reading.Options, environment, console, (plan, opened, device) => PlanReport.Print(console, plan, opened, device))
            : null;
    }

    private static void PrintSettings(ConfigurationReading reading, StartupConsole console)
    {
        int width = reading.Effective.Max(setting => setting.Key.Length + setting.Value.Length) + 3;
        foreach (EffectiveSetting setting in reading.Effective)
            console.Line($"{$"{setting.Key} = {setting.Value}".PadRight(Math.Min(width, 60))}  # {setting.Source}");
    }

    // Sizes follow from the checkpoint; without one there are only the settings.
    private static void PrintCaches(ServerConfiguration options, ProcessEnvironment environment, StartupConsole console)
    {
        try
        {
            using ModelDevice device = ModelDevice.Open(options, environment, new StartupConsole(TextWriter.Null, TextWriter.Null, interactive: false));
            ServerConfiguration opened = options.On(device.Kind);
            foreach (ModelPlan plan in ModelCatalog.Plan(opened, environment, device))
            {
                foreach ((string name, string text) in PlanReport.KvFacts(plan, opened))
                    console.Line($"# {plan.Names[0]}, {name}: {text}");
                plan.Dispose();
            }
        }
        catch (Exception exception) when (ServerRun.IsLoadFailure(exception))
        {
            console.Line($"# the sizes of the cache cannot be told: {exception.Message.ReplaceLineEndings(" ")}");
        }
    }

    private static int PrintPlans(
        ServerConfiguration options, ProcessEnvironment environment, StartupConsole console, Action<ModelPlan, ServerConfiguration, ModelDevice> print)
    {
        try
        {
            var keys = ApiKeys.From(options.Auth);
            ListenAddresses.From(options.Server, environment.InContainer);
            AdminAddress.From(options.Server, keys);
            using ModelDevice device = ModelDevice.Open(options, environment, console);
            ServerConfiguration opened = options.On(device.Kind);
            foreach (ModelPlan plan in ModelCatalog.Plan(opened, environment, device))
            {
                print(plan, opened, device);
                plan.Dispose();
            }

            return ServerRun.Success;
        }
        catch (Exception exception) when (ServerRun.IsLoadFailure(exception))
        {
            console.Problem(exception.Message.ReplaceLineEndings(" "));
            return ServerRun.Failed;
        }
    }
}
