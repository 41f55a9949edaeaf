using InferenceService.Server.Configuration;

namespace InferenceService.Server.Tests.Configuration;

public sealed class ConfigurationReferenceTests
{
    private static readonly string Committed = Path.Combine(ArchitectureTests.Root, "docs", "configuration-reference.md");

    [Fact]
    public void The_committed_reference_is_what_the_option_records_say()
    {
        string written = ConfigurationReference.Write();
        if (Environment.GetEnvironmentVariable("WRITE_CONFIGURATION_REFERENCE") == "1")
            File.WriteAllText(Committed, written);
        Assert.True(File.Exists(Committed) && File.ReadAllText(Committed) == written, "docs/configuration-reference.md is not what the option records say: run `just config-reference`.");
    }

    [Fact]
    public void Every_setting_that_is_read_is_in_the_reference_with_its_variable_and_its_meaning()
    {
        string written = ConfigurationReference.Write();
        ConfigurationReading reading = ConfigurationReading.Read(
            CommandLine.Parse(["--model", "x", "--api-key", "k"]), new ProcessEnvironment { Variables = new Dictionary<string, string>() }, AppContext.BaseDirectory);
        Assert.All(reading.Effective, setting =>
        {
            string key = string.Join(':', setting.Key.Split(':').Select(segment => segment.All(char.IsAsciiDigit) ? "N" : segment));
            Assert.Contains($"| `{key}`<br>", written, StringComparison.Ordinal);
        });
        Assert.All(ConfigurationReference.Settings(typeof(ServerConfiguration)), setting => Assert.Contains($"`{setting.Key}`", written, StringComparison.Ordinal));
        Assert.DoesNotContain("|  |\n", written, StringComparison.Ordinal); // a setting without a docstring
    }

    [Fact]
    public void Every_flag_is_in_the_reference()
    {
        string written = ConfigurationReference.Write();
        Assert.All(ServerFlags.All, flag => Assert.Contains($"`{flag.Name}`", written, StringComparison.Ordinal));
    }

    [Fact]
    public void Every_flag_writes_a_setting_that_exists()
    {
        string[] keys = [.. ConfigurationReference.Settings(typeof(ServerConfiguration)).Select(setting => ConfigurationReference.First(setting.Key))];
        Assert.All(ServerFlags.All.Where(flag => flag.Kind != FlagKind.Refused), flag => Assert.Contains(keys, key => key == flag.Key || key.StartsWith(flag.Key + ":0:", StringComparison.Ordinal)));
    }
}
