using InferenceService.Server.Configuration;

namespace InferenceService.Server.Tests.Configuration;

public sealed class ConfigurationReadingTests
{
    private readonly string _folder = TinyModel.NewFolder();
    private readonly Dictionary<string, string> _variables = new() { ["ASPNETCORE_ENVIRONMENT"] = "Staging" };

    [Fact]
    public void Nothing_said_means_the_defaults()
    {
        ConfigurationReading reading = Read();
        Assert.Empty(reading.Problems);
        Assert.Equal(new EngineSection(), reading.Options.Engine);
        Assert.Equal(new LimitOptions(), reading.Options.Limits);
        Assert.Equal(new AdmissionOptions(), reading.Options.Admission);
        Assert.Equal(new StreamingOptions(), reading.Options.Streaming);
        Assert.Empty(reading.Options.Models);
    }

    [Fact]
    public void The_command_line_beats_the_environment_beats_files()
    {
        Write("appsettings.json", """{"Engine":{"BlockSize":1,"MaxNumSeqs":1,"Seed":1,"MaxNumBatchedTokens":100}}""");
        Write("appsettings.Staging.json", """{"Engine":{"BlockSize":2,"MaxNumSeqs":2,"Seed":2}}""");
        _variables["INFERENCE__Engine__BlockSize"] = "3";
        _variables["INFERENCE__Engine__MaxNumSeqs"] = "3";
        EngineSection engine = Read("--block-size", "4").Options.Engine;
        Assert.Equal((4, 3, 2L, 100), (engine.BlockSize, engine.BatchSequences, engine.Seed!.Value, engine.StepTokens));
    }

    [Fact]
    public void Models_merge_setting_by_setting()
    {
        Write("appsettings.json", """{"Models":[{"Path":"/a","KvCache":{"Dtype":"float16"}},{"Path":"/b"}]}""");
        _variables["INFERENCE__Models__1__MaxModelLen"] = "2k";
        IReadOnlyList<ModelOptions> models = Read("--served-model-name", "first").Options.Models;
        Assert.Equal(["/a", "/b"], models.Select(model => model.Path));
        Assert.Equal("float16", models[0].KvCache.Dtype);
        Assert.Equal(["first"], models[0].Names);
        Assert.Equal(2000, models[1].MaxModelLen);
    }

    [Fact]
    public void Keys_are_replaced_as_a_whole_so_that_scopes_never_mix()
    {
        Write("appsettings.json", """{"Auth":{"Keys":[{"Value":"old","Scopes":["admin"]},"second"]}}""");
        Assert.Equal(["old", "second"], Read().Options.Auth.Keys.Select(key => key.Value));
        KeyOptions key = Assert.Single(Read("--api-key", "new").Options.Auth.Keys);
        Assert.Equal("new", key.Value);
        Assert.Empty(key.Scopes);
    }

    [Fact]
    public void Lists_come_wholly_from_the_strongest_source()
    {
        Write("appsettings.json", """{"Cors":{"Origins":["https://a.example","https://b.example"]}}""");
        Assert.Equal(["https://c.example"], Read("--allowed-origins", "https://c.example").Options.Cors.Origins);
        _variables["INFERENCE__Cors__Origins"] = "https://d.example, https://e.example";
        Assert.Equal(["https://d.example", "https://e.example"], Read().Options.Cors.Origins);
    }

    [Fact]
    public void Host_and_port_of_the_command_line_beat_addresses_of_weaker_sources()
    {
        _variables["INFERENCE__Server__Urls"] = "http://0.0.0.0:9000";
        Assert.Equal(["http://0.0.0.0:9000"], Read().Options.Server.Urls);
        Assert.Empty(Read("--port", "1").Options.Server.Urls);
    }

    [Theory]
    [InlineData("INFERENCE__Engine__MaxNumSeq", "INFERENCE__Engine__MaxNumSeq is not a setting; did you mean INFERENCE__Engine__MaxNumSeqs?")]
    [InlineData("INFERENCE__Engin__MaxNumSeqs", "INFERENCE__Engin__MaxNumSeqs is not a setting; did you mean INFERENCE__Engine__MaxNumSeqs?")]
    [InlineData("INFERENCE__Models__0__Patj", "INFERENCE__Models__0__Patj is not a setting; did you mean INFERENCE__Models__0__Path?")]
    [InlineData("INFERENCE__Models__0__KvCache__Polcy", "INFERENCE__Models__0__KvCache__Polcy is not a setting; did you mean INFERENCE__Models__0__KvCache__Policy?")]
    [InlineData("INFERENCE__Engine__Seed__Deeper", "INFERENCE__Engine__Seed__Deeper is not a setting: Engine:Seed takes a value, not a section")]
    [InlineData("INFERENCE__Engine", "INFERENCE__Engine is not a setting: it is a section, not a value")]
    [InlineData("INFERENCE__PORT", "INFERENCE__PORT is not a setting")]
    public void An_unknown_variable_names_the_nearest_setting(string variable, string problem)
    {
        _variables[variable] = "1";
        Assert.StartsWith(problem, Assert.Single(Read().Problems), StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_key_of_a_file_names_file_and_nearest_setting()
    {
        Write("appsettings.json", """{"Limits":{"MaxLogprob":3},"Logging":{"LogLevel":{"Anything":"Debug"}},"AllowedHosts":"*"}""");
        Assert.Equal(["appsettings.json: Limits:MaxLogprob is not a setting; did you mean appsettings.json: Limits:MaxLogprobs?"], Read().Problems);
    }

    [Fact]
    public void A_file_that_is_not_json_is_one_problem()
    {
        Write("appsettings.json", "{\"Limits\": ");
        Assert.Equal(["appsettings.json is not valid JSON at line 1, byte 12"], Read().Problems);
    }

    [Fact]
    public void A_file_of_broken_text_is_one_problem()
    {
        Write("appsettings.json", """{"Limits":{"MaxN":"\udc00\ud800"}}""");
        Assert.Equal(["appsettings.json is not an object of settings in valid Unicode, each there once"], Read().Problems);
    }

    [Fact]
    public void A_problem_with_a_file_does_not_quote_it()
    {
        Write("appsettings.json", """{"Auth":{"Keys":["sk-secret-0123456789",sk-secret-0123456789]}}""");
        Assert.DoesNotContain("secret", Assert.Single(Read().Problems), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--port: \"70000\" is out of range (0 to 65535)", "--port", "70000")]
    [InlineData("--port: \"http\" is not a whole number (0 to 65535)", "--port", "http")]
    [InlineData("--block-size: \"0\" is out of range (1 to 1024)", "--block-size", "0")]
    [InlineData("--max-model-len: \"32q\" is not a whole number (1 to 100000000)", "--max-model-len", "32q")]
    [InlineData("--kv-cache-memory-bytes: \"10\" is out of range (65536 to 70368744177664)", "--kv-cache-memory-bytes", "10")]
    [InlineData("--gpu-memory-utilization: \"1.5\" is out of range (0.01 to 1)", "--gpu-memory-utilization", "1.5")]
    [InlineData("--max-queue-wait: \"soon\" is not a duration (0.001 s to 86400 s); write seconds, or a number with ms, s, m or h", "--max-queue-wait", "soon")]
    [InlineData("--shutdown-timeout: \"-5\" is out of range (0 s to 86400 s)", "--shutdown-timeout=-5")]
    [InlineData("--enable-prefix-caching: \"maybe\" is neither true nor false", "--enable-prefix-caching=maybe")]
    [InlineData("--scheduling-policy: \"fifo\" is not one of fcfs, priority; did you mean fcfs?", "--scheduling-policy", "fifo")]
    [InlineData("--dtype: \"float8\" is not one of auto, float32, float16, bfloat16; did you mean float32?", "--dtype", "float8")]
    [InlineData("--device: \"cud\" is not one of cpu, cuda, auto; did you mean cuda?", "--device", "cud")]
    [InlineData("--quantization: \"int3\" is not one of none, int8, int4; did you mean int8?", "--quantization", "int3")]
    [InlineData("--cpu-kernels: \"avx\" is not one of auto, avx512, avx-vnni, avx2, portable; did you mean avx2?", "--cpu-kernels", "avx")]
    [InlineData("--kv-cache-dtype: \"fp8\" is not supported by this version yet (supported: auto, float32, float16, bfloat16, int8, int4)", "--kv-cache-dtype", "fp8")]
    [InlineData("--tensor-parallel-size: 2 is not supported by this version yet (supported: 1)", "--tensor-parallel-size", "2")]
    [InlineData("--no-enable-chunked-prefill (Engine:ChunkedPrefill) is not supported: long prompts always share steps with running requests", "--no-enable-chunked-prefill")]
    [InlineData("--max-num-batched-tokens: 4 is less than the 16 sequences of a batch (Engine:MaxNumSeqs)", "--max-num-batched-tokens", "4")]
    [InlineData("--allowed-origins: \"chat.example\" is not an origin such as https://chat.example.org", "--allowed-origins", "chat.example")]
    [InlineData("--root-path: \"llm/\" must begin with / and not end with it", "--root-path", "llm/")]
    [InlineData("--ssl-certfile and --ssl-keyfile go together", "--ssl-certfile", "/x.pem")]
    [InlineData("--served-model-name: \"a\" is used twice", "--served-model-name", "a", "a")]
    [InlineData("--chat-template-kwargs is not a JSON object", "--chat-template-kwargs", "[1]")]
    [InlineData("--api-key: a key consists of printable ASCII characters without spaces", "--api-key", "two words")]
    public void A_value_that_cannot_be_names_flag_value_and_range(string problem, params string[] args) => Assert.Equal([problem], Read(args).Problems);

    [Fact]
    public void A_policy_that_cannot_be_is_told_apart_from_those_there_are() => Assert.Equal(
        [$"--kv-policy: \"fulll\" is not one of {string.Join(", ", InferenceService.Engine.Cache.Policies.KvPolicyRegistry.Names)}; did you mean full?"], Read("--kv-policy", "fulll").Problems);

    [Theory]
    [InlineData(512)]
    [InlineData(600, "--max-num-seqs", "600")]
    [InlineData(16, "--max-num-batched-tokens", "16")]
    public void A_step_has_as_many_tokens_as_stated_or_as_fit_a_stream_beside_it(int expected, params string[] args)
    {
        ConfigurationReading reading = Read(args);
        Assert.Empty(reading.Problems);
        Assert.Equal(expected, reading.Options.Engine.StepTokens);
    }

    [Theory]
    [InlineData("Auth__Keys__0__Sha256", "abc", "INFERENCE__Auth__Keys__0: Sha256 is not 64 hexadecimal digits")]
    [InlineData("Auth__Keys__0__Scopes", "inference", "INFERENCE__Auth__Keys__0: give either Value or Sha256")]
    [InlineData("Server__Urls", "ftp://x", "INFERENCE__Server__Urls: \"ftp://x\" is not an address such as http://0.0.0.0:8000")]
    [InlineData("Admission__OverloadStatusCode", "500", "INFERENCE__Admission__OverloadStatusCode: \"500\" is not one of 503, 429, 529")]
    public void A_variable_that_cannot_be_names_itself(string name, string value, string problem)
    {
        _variables["INFERENCE__" + name] = value;
        Assert.Equal([problem], Read().Problems);
    }

    [Fact]
    public void A_key_is_never_part_of_a_message()
    {
        ConfigurationReading reading = Read("--api-key", "my secret key", "--block-size", "0");
        Assert.Equal(2, reading.Problems.Count);
        Assert.DoesNotContain("secret", string.Join('\n', reading.Problems.Concat(reading.Warnings)), StringComparison.Ordinal);
    }

    [Fact]
    public void Keys_and_useless_settings_on_the_command_line_warn() =>
        Assert.Equal(2, Read("--api-key", "k", "--gpu-memory-utilization", "0.5").Warnings.Count);

    private ConfigurationReading Read(params string[] args) =>
        ConfigurationReading.Read(CommandLine.Parse(args), new ProcessEnvironment { Variables = _variables }, _folder);

    private void Write(string name, string json) => File.WriteAllText(Path.Combine(_folder, name), json);
}
