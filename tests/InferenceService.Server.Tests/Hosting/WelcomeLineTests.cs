using System.Diagnostics;
using System.Text.Json;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

[Collection(ServerCollection.Name)]
public sealed class WelcomeLineTests(ServerFixture fixture)
{
    private readonly ServedModel _model = fixture.Server.Service<IModelCatalog>().Models[0];

    [Fact]
    public void The_curl_line_is_one_line_of_valid_json()
    {
        string line = new WelcomeLine(null, KeyRequired: false).Curl("http://127.0.0.1:8000", _model);
        Assert.DoesNotContain('\n', line);
        Assert.StartsWith("curl -N http://127.0.0.1:8000/v1/chat/completions ", line, StringComparison.Ordinal);
        using JsonDocument body = JsonDocument.Parse(line.Split('\'')[^2]);
        Assert.Equal("tiny", body.RootElement.GetProperty("model").GetString());
        Assert.True(body.RootElement.GetProperty("stream").GetBoolean());
    }

    [Fact]
    public void With_keys_it_says_where_the_key_goes() =>
        Assert.Contains("-H \"Authorization: Bearer $API_KEY\"", new WelcomeLine("", KeyRequired: true).Curl("http://h", _model), StringComparison.Ordinal);

    [Fact]
    public void Addresses_and_path_base_are_those_a_client_uses()
    {
        using var output = new StringWriter();
        var console = new StartupConsole(output, TextWriter.Null, interactive: false);
        new WelcomeLine("/llm", KeyRequired: false).Print(console, ["http://0.0.0.0:8000"], [_model]);
        Assert.Contains("Listening on http://0.0.0.0:8000", output.ToString(), StringComparison.Ordinal);
        Assert.Contains("curl -N http://127.0.0.1:8000/llm/v1/", output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_name_with_a_quote_survives_the_shell()
    {
        var odd = new ServedModel
        {
            Names = ["o'model"],
            Tokenizer = _model.Tokenizer,
            ChatTemplate = null,
            Defaults = _model.Defaults,
            Engine = _model.Engine,
            Created = _model.Created,
            MaxModelLength = 64,
            OutputFacts = "",
            Policies = _model.Policies,
            Quantization = "none",
        };
        string line = new WelcomeLine(null, KeyRequired: false).Curl("http://h", odd).Replace("curl -N", "printf '%s\\n'", StringComparison.Ordinal);
        using Process shell = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", line]) { RedirectStandardOutput = true })!;
        string[] arguments = shell.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        shell.WaitForExit();
        using JsonDocument body = JsonDocument.Parse(arguments[^1]);
        Assert.Equal("o'model", body.RootElement.GetProperty("model").GetString());
        Assert.Equal("http://h/v1/completions", arguments[0]);
    }
}
