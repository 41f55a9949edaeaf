using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hub;

namespace InferenceService.Server.Tests.Hub;

public sealed class HubSettingsTests
{
    [Fact]
    public void Settings_come_from_configuration_then_from_the_hubs_own_variables_then_from_defaults()
    {
        HubSettings settings = Settings(("HOME", "/home/me"));
        Assert.Equal((new Uri("https://huggingface.co/"), "/home/me/.cache/huggingface/hub", false), (settings.Endpoint, settings.CacheFolder, settings.Offline));
        settings = Settings(("HF_HOME", "/data/hf"), ("HF_ENDPOINT", "https://mirror.example.org/hf/"), ("HF_HUB_OFFLINE", "yes"));
        Assert.Equal((new Uri("https://mirror.example.org/hf/"), "/data/hf/hub", true), (settings.Endpoint, settings.CacheFolder, settings.Offline));
        settings = Settings(("HF_ENDPOINT", "https://mirror.example.org"), ("INFERENCE__Hub__Endpoint", "https://own.example.org"), ("HF_HUB_OFFLINE", "1"), ("INFERENCE__Hub__Offline", "false"));
        Assert.Equal((new Uri("https://own.example.org/"), false), (settings.Endpoint, settings.Offline));
    }

    [Fact]
    public void A_token_comes_from_the_strongest_place_that_has_one()
    {
        string folder = TinyModel.NewFolder(), other = Path.Combine(folder, "other");
        Assert.Null(Settings(("HF_HOME", folder)).ReadToken());
        File.WriteAllText(Path.Combine(folder, "token"), "hf_of_home\n");
        File.WriteAllText(other, "hf_of_file");
        Assert.Equal("hf_of_home", Settings(("HF_HOME", folder)).ReadToken());
        Assert.Equal("hf_of_file", Settings(("HF_HOME", folder), ("HF_TOKEN_PATH", other)).ReadToken());
        Assert.Equal("hf_of_variable", Settings(("HF_HOME", folder), ("HF_TOKEN", "hf_of_variable")).ReadToken());
        Assert.Equal("hf_of_file", Settings(("HF_TOKEN", "hf_of_variable"), ("INFERENCE__Hub__TokenFile", other)).ReadToken());
        Assert.Equal("hf_own", Settings(("HF_TOKEN", "hf_of_variable"), ("INFERENCE__Hub__Token", "hf_own")).ReadToken());
    }

    [Fact]
    public void A_token_that_cannot_be_used_is_one_line_without_it()
    {
        Assert.Equal("The token file /no/such/file cannot be read.", Refusal(("INFERENCE__Hub__TokenFile", "/no/such/file")));
        string message = Refusal(("HF_TOKEN", "hf_se cret"));
        Assert.StartsWith("The token of the hub (HF_TOKEN) is not 1 to 4096 printable characters", message, StringComparison.Ordinal);
        Assert.Equal("The token of the hub would be sent over http to mirror.example.org; use https, or leave the token out.", Refusal(("HF_TOKEN", "hf_secret"), ("HF_ENDPOINT", "http://mirror.example.org")));
        Assert.Equal("hf_secret", Settings(("HF_TOKEN", "hf_secret"), ("HF_ENDPOINT", "http://127.0.0.1:8080")).ReadToken());
    }

    [Theory]
    [InlineData("INFERENCE__Hub__Endpoint", "huggingface.co", "INFERENCE__Hub__Endpoint: \"huggingface.co\" is not an address such as https://huggingface.co")]
    [InlineData("HF_ENDPOINT", "https://me:pw@example.org", "HF_ENDPOINT: an address such as https://huggingface.co holds no user, password, query or fragment")]
    [InlineData("HF_ENDPOINT", "file:///etc", "HF_ENDPOINT: \"file:///etc\" is not an address such as https://huggingface.co")]
    [InlineData("INFERENCE__Hub__Token", "two words", "INFERENCE__Hub__Token: a token has 1 to 4096 printable characters without spaces")]
    [InlineData("INFERENCE__Hub__IdleTimeout", "0", "INFERENCE__Hub__IdleTimeout: \"0\" is out of range (1 s to 600 s)")]
    public void A_section_that_is_wrong_is_one_line(string name, string value, string problem) =>
        Assert.Equal(problem, Assert.Single(Read((name, value)).Problems));

    [Theory]
    [InlineData("org/name", "org/name", "main")]
    [InlineData("org/name@v1.0", "org/name", "v1.0")]
    [InlineData("Qwen/Qwen2.5-0.5B_x@refs/pr/12", "Qwen/Qwen2.5-0.5B_x", "refs/pr/12")]
    public void An_id_names_a_model_and_a_revision(string text, string repository, string revision)
    {
        Assert.True(HubModelId.TryParse(text, out HubModelId? id));
        Assert.Equal((repository, revision), (id.Repository, id.Revision));
        Assert.Equal(text, id.ToString());
    }

    [Theory]
    [InlineData("name")]
    [InlineData("a/b/c")]
    [InlineData("../name")]
    [InlineData("org/.hidden")]
    [InlineData("org/a..b")]
    [InlineData("org/na me")]
    [InlineData("org/name@")]
    [InlineData("org/name@a@b")]
    [InlineData("org/name@../../refs")]
    [InlineData("org/name@/x")]
    [InlineData("/name")]
    public void What_could_leave_a_folder_is_no_id(string text) => Assert.False(HubModelId.TryParse(text, out _));

    [Fact]
    public void A_revision_of_its_own_setting_belongs_to_the_id()
    {
        ConfigurationReading reading = Read(("INFERENCE__Models__0__Path", "org/name"), ("INFERENCE__Models__0__Revision", "v2"));
        Assert.Equal("org/name@v2", reading.Options.Models[0].Source);
    }

    [Fact]
    public void A_full_disk_is_known_by_the_systems_own_error()
    {
        if (!File.Exists("/dev/full"))
            return; // Linux has it
        IOException full = Assert.Throws<IOException>(() =>
        {
            using var file = new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            file.Write([1]);
        });
        Assert.True(HubDisk.IsFull(full));
        Assert.False(HubDisk.IsFull(new FileNotFoundException()));
        Assert.True(new HubDisk().FreeBytes(TinyModel.NewFolder()) > 0);
    }

    private static string Refusal(params (string, string)[] variables) => Assert.Throws<CheckpointException>(() => Settings(variables).ReadToken()).Message;

    private static HubSettings Settings(params (string, string)[] variables)
    {
        ConfigurationReading reading = Read(variables);
        Assert.Empty(reading.Problems);
        return HubSettings.From(reading.Options.Hub, Environment(variables));
    }

    private static ConfigurationReading Read(params (string, string)[] variables) => ConfigurationReading.Read(CommandLine.Parse([]), Environment(variables), AppContext.BaseDirectory);

    private static ProcessEnvironment Environment((string Name, string Value)[] variables) => new() { Variables = variables.ToDictionary(pair => pair.Name, pair => pair.Value) };
}
