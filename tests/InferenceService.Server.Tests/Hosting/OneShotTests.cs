using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

public sealed class OneShotTests
{
    [Fact]
    public async Task Plain_flags_go_on_to_serve()
    {
        (int? code, string output, string error) = await RunAsync("--port", "0");
        Assert.Null(code);
        Assert.Equal("", output + error);
    }

    [Fact]
    public async Task Help_lists_every_flag_that_works()
    {
        (int? code, string output, _) = await RunAsync("--help");
        Assert.Equal(0, code);
        Assert.All(ServerFlags.All.Where(flag => flag.Kind != FlagKind.Refused), flag => Assert.Contains(flag.Name, output, StringComparison.Ordinal));
        Assert.Contains("--dry-run", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Version_is_one_line()
    {
        (int? code, string output, _) = await RunAsync("--version");
        Assert.Equal(0, code);
        Assert.StartsWith(ServerVersion.Text, output, StringComparison.Ordinal);
        Assert.Single(output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task Every_problem_is_one_line_and_the_code_is_2()
    {
        (int? code, _, string error) = await RunAsync("--port", "70000", "--blok-size", "16", "--kv-policy", "everything");
        Assert.Equal(2, code);
        string[] lines = error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(3, lines.Length);
        Assert.All(lines, line => Assert.StartsWith("error: --", line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Settings_are_printed_with_source_and_without_secrets()
    {
        (int? code, string output, _) = await RunAsync("--print-config", "--api-key", "sk-very-secret", "--max-num-seqs", "4");
        Assert.Equal(0, code);
        Assert.Matches(@"(?m)^Engine:MaxNumSeqs = 4 +# --max-num-seqs$", output);
        Assert.Matches(@"(?m)^Engine:BlockSize = 16 +# default$", output);
        Assert.Matches(@"(?m)^Auth:Keys:0:Value = \*\*\* +# --api-key$", output);
        Assert.DoesNotContain("sk-very-secret", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dry_run_prints_the_memory_plan()
    {
        (int? code, string output, string error) = await RunAsync("--dry-run", "--model", TinyModel.Folder, "--kv-cache-memory-bytes", "1M", "--max-model-len", "1k");
        Assert.Equal(0, code);
        Assert.Equal("", error);
        Assert.Matches(@"weights +\d+\.\d+ million parameters, .+ as float32", output);
        Assert.Matches(@"kv policy +full.*; requests may choose full, streaming-llm\r?\n", output);
        Assert.Matches(@"kv pool +1 MiB as float32: 256 blocks of 16 tokens, 4096 tokens of 256 bytes, grouped by model \(1 a sequence\)", output);
        Assert.Matches(@"context +1000 tokens; 4\.1 sequences of that length fit at once", output);
    }

    [Theory]
    [InlineData("full", false)]
    [InlineData("fast-gen", true)]
    public async Task Attention_sums_and_swap_have_their_lines_in_the_plan(string allowed, bool observes)
    {
        var variables = new Dictionary<string, string> { ["INFERENCE__Models__0__KvCache__AllowedPolicies"] = allowed, ["INFERENCE__Models__0__KvCache__SwapBytes"] = "8M" };
        (int? code, string output, string error) = await RunInAsync(variables, "--dry-run", "--model", TinyModel.Folder, "--kv-cache-memory-bytes", "1M");
        Assert.Equal((0, ""), (code, error));
        Assert.Matches(@"kv swap +8 MiB at most, for preempted sequences\r?\n", output);
        // 16 sequences of 2 · 2 lanes of 2048 tokens, two numbers of four bytes.
        Assert.Equal(observes, System.Text.RegularExpressions.Regex.IsMatch(output, @"kv sums +1 MiB at most, for attention observed by fast-gen\r?\n"));
        Assert.Equal(observes, output.Contains("kv sums", StringComparison.Ordinal));
        variables["INFERENCE__Models__0__KvCache__SwapBytes"] = "-1";
        (code, _, error) = await RunInAsync(variables, "--dry-run", "--model", TinyModel.Folder);
        Assert.NotEqual(0, code);
        Assert.Contains("SwapBytes", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--dry-run", "")]
    [InlineData("--print-config", "# tiny, ")]
    public async Task A_policy_is_shown_with_its_options_and_what_it_takes(string how, string before)
    {
        string file = Path.Combine(TinyModel.NewFolder(), "policy.json");
        File.WriteAllText(file, """{"name":"streaming-llm","sink_tokens":16,"recent_tokens":47}""");
        (int? code, string output, string error) = await RunAsync(how, "--model", TinyModel.Folder, "--kv-cache-memory-bytes", "1M", "--kv-policy-file", file);
        Assert.Equal((0, ""), (code, error));
        Assert.Matches(before + @"kv policy:? +streaming-llm \(sink_tokens=16, recent_tokens=47.*\); requests may choose full, streaming-llm\r?\n", output);
        Assert.Matches(before + @"context:? +2048 tokens; 32\.0 sequences of that length fit at once", output);
        if (how == "--print-config")
        {
            Assert.Matches(@"(?m)^Models:0:KvCache:Policy = streaming-llm +# --kv-policy-file\r?$", output);
            Assert.Matches(@"(?m)^Models:0:KvCache:PolicyOptions:recent_tokens = 47 +# --kv-policy-file\r?$", output);
            Assert.Matches(@"(?m)^Models:0:KvCache:Grouping = auto +# default\r?$", output);
        }
    }

    [Fact]
    public async Task A_dry_run_of_a_reduced_context_warns()
    {
        (int? code, _, string error) = await RunAsync("--dry-run", "--model", TinyModel.Folder, "--kv-cache-memory-bytes", "100K");
        Assert.Equal(0, code);
        Assert.Equal("warning: the context is reduced from 2048 to 400 tokens to fit the KV pool; raise --kv-cache-memory-bytes for more.", error.Trim());
    }

    [Fact]
    public async Task A_dry_run_of_a_missing_model_fails_in_one_line()
    {
        (int? code, string output, string error) = await RunAsync("--dry-run", "--model", "/no/such/model");
        Assert.Equal(1, code);
        Assert.Equal("", output);
        Assert.Equal($"error: --model: \"/no/such/model\" is neither a folder nor a file, nor an embedded model ({string.Join(", ", ModelFolder.EmbeddedNames)}), nor an id such as org/name.", error.Trim());
    }

    private static Task<(int? Code, string Output, string Error)> RunAsync(params string[] args) => RunInAsync([], args);

    private static async Task<(int? Code, string Output, string Error)> RunInAsync(Dictionary<string, string> variables, params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var environment = new ProcessEnvironment { Variables = variables };
        CommandLine commandLine = CommandLine.Parse(args);
        ConfigurationReading reading = ConfigurationReading.Read(commandLine, environment, AppContext.BaseDirectory);
        int? code = await OneShot.RunAsync(commandLine, reading, environment, new StartupConsole(output, error, interactive: false));
        return (code, output.ToString(), error.ToString());
    }
}
