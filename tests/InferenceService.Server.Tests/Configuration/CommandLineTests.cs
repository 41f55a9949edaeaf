using InferenceService.Server.Configuration;

namespace InferenceService.Server.Tests.Configuration;

public sealed class CommandLineTests
{
    [Theory]
    [InlineData("--block-size", "8")]
    [InlineData("--block-size=8")]
    [InlineData("--block_size", "8")]
    [InlineData("--block_size=8")]
    public void A_value_follows_after_a_space_or_an_equals_sign(params string[] args) => Assert.Equal("8", Values(args)["Engine:BlockSize"]);

    [Theory]
    [InlineData("true", "--enable-prefix-caching")]
    [InlineData("false", "--no-enable-prefix-caching")]
    [InlineData("false", "--no_enable_prefix_caching")]
    [InlineData("false", "--enable-prefix-caching=false")]
    [InlineData("true", "--enable-prefix-caching", "true")]
    public void A_switch_needs_no_value(string expected, params string[] args) => Assert.Equal(expected, Values(args)["Engine:PrefixCaching"]);

    [Fact]
    public void A_switch_does_not_swallow_what_follows()
    {
        IReadOnlyDictionary<string, string> values = Values("--enable-log-requests", "--port", "1");
        Assert.Equal("true", values["Logging:Requests"]);
        Assert.Equal("1", values["Server:Port"]);
    }

    [Theory]
    [InlineData("--served-model-name", "a", "b")]
    [InlineData("--served-model-name", "a", "--served-model-name", "b")]
    [InlineData("--served-model-name=a", "--served_model_name=b")]
    public void A_list_takes_several_values_or_is_repeated(params string[] args)
    {
        IReadOnlyDictionary<string, string> values = Values(args);
        Assert.Equal("a", values["Models:0:Names:0"]);
        Assert.Equal("b", values["Models:0:Names:1"]);
    }

    [Fact]
    public void The_model_may_stand_alone()
    {
        Assert.Equal("/models/x", Values("/models/x", "--port", "1")["Models:0:Path"]);
        Assert.Equal("/models/x", Values("--port", "1", "/models/x")["Models:0:Path"]);
        Assert.Equal("-", Values("--model", "-")["Models:0:Path"]);
    }

    [Theory]
    [InlineData("--modle is not a flag; did you mean --model?", "--modle", "x")]
    [InlineData("--max-num-seq is not a flag; did you mean --max-num-seqs?", "--max-num-seq=3")]
    [InlineData("--no-enable-prefix-cachin is not a flag; did you mean --no-enable-prefix-caching?", "--no-enable-prefix-cachin")]
    [InlineData("--xyzzyplugh is not a flag", "--xyzzyplugh")]
    [InlineData("two models are named, \"a\" and \"b\"; name one", "--model", "a", "b")]
    [InlineData("\"b\" belongs to no flag", "a", "b")]
    [InlineData("--enable-prefix-caching and --no-enable-prefix-caching exclude each other", "--enable-prefix-caching", "--no-enable-prefix-caching")]
    [InlineData("--trust-remote-code: no code from checkpoints is ever executed; leave it out", "--trust-remote-code")]
    [InlineData("--numa: NUMA placement is not supported by this version yet", "--numa", "on")]
    [InlineData("--tool-call-parser: tools are not supported by this version yet", "--tool-call-parser", "hermes", "--port", "1")]
    public void What_cannot_be_is_one_problem(string problem, params string[] args) => Assert.Equal([problem], CommandLine.Parse(args).Problems);

    [Theory]
    [InlineData("--port")]
    [InlineData("--port", "1", "--port", "2")]
    public void A_missing_or_repeated_value_names_the_flag(params string[] args) =>
        Assert.Contains("--port", Assert.Single(CommandLine.Parse(args).Problems), StringComparison.Ordinal);

    [Fact]
    public void All_problems_are_told_at_once() =>
        Assert.Equal(3, CommandLine.Parse(["--modle", "--trust-remote-code", "--numa", "--port", "1"]).Problems.Count);

    [Fact]
    public void A_file_of_arguments_is_not_read() => Assert.Equal("@/etc/hostname", Values("@/etc/hostname")["Models:0:Path"]);

    [Fact]
    public void Every_flag_writes_a_setting_that_exists()
    {
        var reader = new OptionsReader([]);
        reader.Read(typeof(ServerConfiguration), "");
        reader.Read(typeof(ModelOptions), "Models:0");
        var known = reader.Effective.Select(setting => setting.Key).ToHashSet(StringComparer.Ordinal);
        known.Add("Auth:Keys");
        Assert.All(ServerFlags.All.Where(flag => flag.Kind != FlagKind.Refused), flag => Assert.Contains(flag.Key, known));
    }

    private static IReadOnlyDictionary<string, string> Values(params string[] args)
    {
        CommandLine commandLine = CommandLine.Parse(args);
        Assert.Empty(commandLine.Problems);
        return commandLine.Layer.Values;
    }
}
