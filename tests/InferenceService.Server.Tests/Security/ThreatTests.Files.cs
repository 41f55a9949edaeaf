using System.Buffers.Binary;
using System.Net;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Tests.Api;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceService.Server.Tests.Security;

/// <summary>Attacks by files of a checkpoint, between tenants, and by what the server is built from.</summary>
public sealed partial class ThreatTests
{
    [Fact]
    public async Task Code_in_a_checkpoint()
    {
        string folder = NewModel(), proof = Path.Combine(folder, "executed");
        // What the original libraries would import and run: a module named by the config, and a pickle whose first opcode calls a function.
        Edit(folder, "config.json", config =>
        {
            config["auto_map"] = new JsonObject { ["AutoModelForCausalLM"] = "modeling_evil.Evil", ["AutoConfig"] = "modeling_evil.Evil" };
            config["custom_code"] = true;
        });
        foreach (string name in (string[])["modeling_evil.py", "configuration_evil.py", "__init__.py", "setup.py"])
            await File.WriteAllTextAsync(Path.Combine(folder, name), $"open({JsonSerializer.Serialize(proof)}, 'w').close()");
        await File.WriteAllTextAsync(Path.Combine(folder, "pytorch_model.bin"), $"cbuiltins\nopen\n(S'{proof}'\nS'w'\ntR.");
        await using (TestServer server = await TestServer.StartAsync("--model", folder))
            await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"a","max_tokens":2}""");
        Assert.False(File.Exists(proof));

        // Only the pickle: there is nothing that would read it.
        File.Delete(Path.Combine(folder, "model.safetensors"));
        Assert.Contains("safetensors", await FailedStartAsync("--model", folder), StringComparison.Ordinal);
        Assert.False(File.Exists(proof));
        Assert.Contains("no code from checkpoints", Assert.Single(CommandLine.Parse(["--trust-remote-code"]).Problems), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Template_injection()
    {
        string[] attacks =
        [
            "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.__class__.__init__.__globals__ }}", "{{ self._TemplateReference__context }}", "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
            "{{ lipsum.__globals__['os'].popen('id').read() }}", "{{ request.application.__globals__ }}", "{% include '/etc/passwd' %}", "{% import 'os' as os %}{{ os }}", "{{ messages.GetType().Assembly }}",
            "{% for i in range(1000000000) %}x{% endfor %}", "{{ 'x' * 1000000000 }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        ];
        string folder = NewModel();
        await using TestServer trusting = await TestServer.StartAsync("--model", folder, "--trust-request-chat-template");
        foreach (string attack in attacks)
        {
            string body = $"{{\"messages\":[{{\"role\":\"user\",\"content\":\"a\"}}],\"max_tokens\":1,\"chat_template\":{JsonSerializer.Serialize("p" + attack)}}}";
            HttpResponseMessage rendered = await trusting.Client.SendAsync(ApiClient.Request("/v1/chat/completions/render", body));
            string text = await rendered.Content.ReadAsStringAsync();
            Assert.Contains(rendered.StatusCode, (HttpStatusCode[])[HttpStatusCode.BadRequest, HttpStatusCode.OK]);
            foreach (string leak in (string[])["uid=", "root:", "System.", "subclass", "globals"])
                Assert.True(rendered.StatusCode != HttpStatusCode.OK || !text.Contains(leak, StringComparison.Ordinal), $"{attack}: {text}");
            // By default no request brings a template at all, and none can change what the server gives its own.
            Assert.False((await _server.Client.SendAsync(ApiClient.Request("/v1/chat/completions", body))).IsSuccessStatusCode);
        }

        await AssertRefusedAsync("/v1/chat/completions", """{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"messages":[{"role":"system","content":"b"}]}}""");
    }

    [Fact]
    public async Task Lying_file_headers()
    {
        foreach (long claimed in (long[])[long.MaxValue, -1, 1L << 40, 0, 7, 1 << 30])
        {
            string folder = NewModel(), weights = Path.Combine(folder, "model.safetensors");
            byte[] bytes = await File.ReadAllBytesAsync(weights);
            BinaryPrimitives.WriteInt64LittleEndian(bytes, claimed);
            await File.WriteAllBytesAsync(weights, bytes);
            Assert.StartsWith("error: model.safetensors", await FailedStartAsync("--model", folder), StringComparison.Ordinal);
        }

        // Offsets and shapes beyond the file, behind one another, and whose product overflows (CVE-2026-7482, CVE-2026-27940).
        foreach ((string from, string to) in ((string, string)[])[("\"data_offsets\":[0,", "\"data_offsets\":[-8,"), ("\"data_offsets\":[0,", "\"data_offsets\":[9223372036854775800,"), ("\"shape\":[", "\"shape\":[4294967296,4294967296,"), ("\"shape\":[", "\"shape\":[-1,")])
        {
            string folder = NewModel(), weights = Path.Combine(folder, "model.safetensors");
            byte[] bytes = await File.ReadAllBytesAsync(weights);
            int length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
            string header = System.Text.Encoding.UTF8.GetString(bytes, 8, length);
            int at = header.IndexOf(from, StringComparison.Ordinal);
            Assert.True(at >= 0, header[..200]);
            byte[] changed = System.Text.Encoding.UTF8.GetBytes(header[..at] + to + header[(at + from.Length)..]);
            byte[] size = new byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(size, changed.Length);
            await File.WriteAllBytesAsync(weights, [.. size, .. changed, .. bytes[(8 + length)..]]);
            Assert.StartsWith("error: model.safetensors", await FailedStartAsync("--model", folder), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Catastrophic_patterns()
    {
        string folder = NewModel();
        Edit(folder, "tokenizer.json", tokenizer => tokenizer["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Sequence",
            ["pretokenizers"] = new JsonArray(
                new JsonObject { ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = "(a+)+(a+)+(a+)+$" }, ["behavior"] = "Isolated", ["invert"] = false },
                tokenizer["pre_tokenizer"]!.DeepClone()),
        });
        await using TestServer server = await TestServer.StartAsync("--model", folder);
        HttpResponseMessage answer = await server.Client.SendAsync(ApiClient.Request("/v1/completions", $"{{\"prompt\":\"{new string('a', 900)}!\",\"max_tokens\":1}}"));
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Contains("more work than this model's tokenizer allows", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        answer = await server.Client.SendAsync(ApiClient.Request("/v1/completions", $"{{\"prompt\":\"b\",\"bad_words\":[\"{new string('a', 250)}!\"],\"max_tokens\":1}}"));
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Contains("bad_words cannot be tokenized: it takes more work than this model's tokenizer allows", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await ApiClient.PostAsync(server.Client, "/v1/completions", """{"prompt":"b","max_tokens":1}""");
    }

    [Fact]
    public async Task Prefix_cache_side_channel()
    {
        await using TestServer server = await TestServer.StartAsync("--api-key", "sk-victim", "--api-key", "sk-attacker");
        using HttpClient victim = server.NewClient("sk-victim"), attacker = server.NewClient("sk-attacker");
        ServedModel model = server.Service<IModelCatalog>().Models[0];
        string body = $"{{\"prompt\":{ApiClient.ByteIds("The password of the vault is swordfish, and nobody knows.")},\"max_tokens\":1,\"temperature\":0}}";
        await ApiClient.PostAsync(victim, "/v1/completions", body);
        long hits = model.Engine.Statistics.PrefixHitTokens;
        JsonElement guess = await ApiClient.PostAsync(attacker, "/v1/completions", body);
        Assert.Equal(0, guess.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32());
        Assert.Equal(hits, model.Engine.Statistics.PrefixHitTokens);
        // The control: the victim's own second request does hit, so that there was something to find.
        JsonElement own = await ApiClient.PostAsync(victim, "/v1/completions", body);
        Assert.True(own.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32() > 0);
    }

    [Fact]
    public async Task Secrets_in_what_is_written()
    {
        // SecretsTests searches a whole process for marks; here, that every setting which holds one says so.
        string[] named = ["Key", "Sha256", "Token", "Secret", "Password", "Headers"];
        var open = new List<string>();
        foreach (Type type in typeof(ServerConfiguration).Assembly.GetTypes().Where(type => type.Namespace == typeof(ServerConfiguration).Namespace && type.IsClass))
        {
            foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.PropertyType == typeof(string) && property.SetMethod is not null))
            {
                if (named.Any(word => property.Name.EndsWith(word, StringComparison.Ordinal)) && property.GetCustomAttribute<SecretAttribute>() is null && type.Name.EndsWith("Options", StringComparison.Ordinal))
                    open.Add($"{type.Name}.{property.Name}");
            }
        }

        Assert.Empty(open);
        await using TestServer server = await TestServer.StartWithoutModelAsync("--api-key", "sk-very-secret");
        Assert.DoesNotContain("sk-very-secret", server.Output.ToString() + server.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Supply_chain()
    {
        string root = ArchitectureTests.Root;
        string[] projects = [.. Directory.GetFiles(Path.Combine(root, "src"), "*.csproj", SearchOption.AllDirectories)];
        Assert.NotEmpty(projects);
        foreach (string project in projects)
        {
            // Every package by version and content hash; what a project states has no version of its own.
            JsonElement file = JsonDocument.Parse(File.ReadAllText(Path.Combine(Path.GetDirectoryName(project)!, "packages.lock.json"))).RootElement;
            foreach (JsonProperty package in file.GetProperty("dependencies").EnumerateObject().SelectMany(framework => framework.Value.EnumerateObject()))
            {
                if (package.Value.GetProperty("type").GetString() != "Project")
                    Assert.True(package.Value.GetProperty("contentHash").GetString()!.Length > 40, package.Name);
            }

            Assert.DoesNotContain("Version=\"", Regex.Match(File.ReadAllText(project), "(?s)<ItemGroup>.*").Value, StringComparison.Ordinal);
        }

        Assert.Contains("--locked-mode", File.ReadAllText(Path.Combine(root, "Dockerfile")), StringComparison.Ordinal);
        Assert.Contains("<RestorePackagesWithLockFile>true", File.ReadAllText(Path.Combine(root, "Directory.Build.props")), StringComparison.Ordinal);
    }

    private static string NewModel()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        return folder;
    }

    private static void Edit(string folder, string file, Action<JsonObject> change)
    {
        string path = Path.Combine(folder, file);
        JsonObject json = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        change(json);
        File.WriteAllText(path, json.ToJsonString());
    }

    /// <summary>A start that must fail with code 1 and one line: the line.</summary>
    private static async Task<string> FailedStartAsync(params string[] args)
    {
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse([.. args, "--port", "0", "--admin-port", "none", "--threads", "1"]), environment, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        using var error = new StringWriter();
        await using WebApplication app = Program.Build(reading, environment, new StartupConsole(TextWriter.Null, error, interactive: false));
        Assert.Equal(1, await app.Services.GetRequiredService<ServerRun>().ServeAsync(app));
        return Assert.Single(error.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }
}
