using InferenceService.Server.Configuration;
using InferenceService.Server.Security;

namespace InferenceService.Server.Hosting.Admin;

/// <summary>Registers the admin port beside the public one.</summary>
internal static class AdminServices
{
    /// <summary>Registers it.</summary>
    /// <exception cref="InvalidDataException">Its address cannot be used, or would be open to other machines.</exception>
    public static void AddTo(WebApplicationBuilder builder, ConfigurationReading reading, ApiKeys keys)
    {
        builder.Services.AddSingleton(reading).AddSingleton(AdminAddress.From(reading.Options.Server, keys)).AddSingleton(new LogLevels(builder.Configuration));
        builder.Services.AddSingleton<AdminParts>().AddSingleton<AdminPort>().AddHostedService(services => services.GetRequiredService<AdminPort>());
        FixedLogLevel.Set(builder.Logging, AdminAudit.Category, LogLevel.Information);
    }
}

/// <summary>Where the admin routes are to be.</summary>
/// <param name="At">The address; null = there are none.</param>
/// <param name="IsChosen">Configuration names the port: it must be had.</param>
internal sealed record AdminAddress(ListenAddresses? At, bool IsChosen)
{
    /// <summary>Reads it.</summary>
    /// <exception cref="InvalidDataException">Other machines would reach the routes without a key, or a name or certificate cannot be used.</exception>
    public static AdminAddress From(HttpOptions options, ApiKeys keys)
    {
        if (options.AdminPortNumber is not { } port)
            return new AdminAddress(null, true);
        var addresses = ListenAddresses.ForAdmin(options, port);
        if (addresses.ReachableFromOutside && !keys.Required)
            throw new InvalidDataException($"--admin-host: {options.AdminHost} can be reached from other machines, and without a key everybody there could operate this server; see --api-key-file.");
        return new AdminAddress(addresses, options.AdminPort is not null);
    }
}
