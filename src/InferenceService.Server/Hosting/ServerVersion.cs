using System.Reflection;
using System.Runtime.InteropServices;

namespace InferenceService.Server.Hosting;

/// <summary>What this build is.</summary>
internal static class ServerVersion
{
    private static readonly string[] Informational =
        (typeof(ServerVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0.0.0").Split('+', 2);

    /// <summary>For example <c>0.1.0</c>.</summary>
    public static string Text => Informational[0];

    /// <summary>Commit it was built from; "unknown" outside a repository.</summary>
    public static string Commit => Informational.Length > 1 ? Informational[1] : "unknown";

    /// <summary>For example <c>.NET 10.0.1</c>.</summary>
    public static string Runtime => RuntimeInformation.FrameworkDescription;
}
