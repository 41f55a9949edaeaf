using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using InferenceService.Server.Tests.Api;
using InferenceService.Server.Tests.Telemetry.Otlp;

namespace InferenceService.Server.Tests.Security;

/// <summary>The server as a process, with everything that must stay secret marked, and everything that it writes searched for the marks.</summary>
public sealed class SecretsTests
{
    // Keys, tokens and prompts; each with a mark of its own, so that a failure says what leaked.
    private const string Key = "sk-MARKkey1", FileKey = "sk-MARKkey2", WrongKey = "sk-MARKwrong", QueryKey = "sk-MARKquery";
    private const string HubToken = "hf_MARKtoken", OtlpHeader = "MARKheader", Prompt = "MARKprompt", Stop = "MARKstop", User = "MARKuser";

    private const string AnyMark = "MARK";

    private static readonly string[] Bodies =
    [
        $$"""{"messages":[{"role":"user","content":"{{Prompt}} tell"}],"max_tokens":4,"stop":["{{Stop}}"],"user":"{{User}}","metadata":{"a":"{{User}}"} }""",
        $$"""{"messages":[{"role":"user","content":"{{Prompt}} tell"}],"max_tokens":4,"stream":true,"cache_salt":"{{User}}"}""",
        $$"""{"messages":[{"role":"user","content":"{{Prompt}}"}],"max_tokens":100000}""",
        $$"""{"messages":[{"role":"user","content":"{{Prompt}}"}],"temperature":99,"unknown_field":"{{Prompt}}"}""",
        $$"""{"messages":[{"role":"user","content":"{{Prompt}}"}],"chat_template":"{{Prompt}}"}""",
        $$"""{"messages":[{"role":"user","content":"{{Prompt}}"}],"allowed_token_ids":[5],"logit_bias":{"5":-100},"min_tokens":1}""",
        $$"""{"messages":[{"role":"user","content":{{Prompt}}""",
    ];

    [Fact]
    public async Task Nothing_that_a_server_writes_holds_a_key_a_token_or_a_prompt()
    {
        await using OtlpReceiver collector = await OtlpReceiver.StartAsync();
        using Process process = Start(collector.Http);
        var written = new StringBuilder();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string[] addresses = await AddressesAsync(process, written);
        using HttpClient client = NewClient(addresses[1], Key), other = NewClient(addresses[1], FileKey), wrong = NewClient(addresses[1], WrongKey), admin = NewClient(addresses[0], FileKey);
        foreach (string body in Bodies)
            await SendAsync(client, "/v1/chat/completions", body);
        await SendAsync(other, "/v1/completions", $$"""{"prompt":"{{Prompt}}","max_tokens":3,"echo":true,"logprobs":2}""");
        await SendAsync(other, "/tokenize", $$"""{"prompt":"{{Prompt}}"}""");
        await SendAsync(other, "/v1/chat/completions/render", Bodies[0]);
        await SendAsync(wrong, "/v1/chat/completions", Bodies[0]);
        using (HttpRequestMessage asked = ApiClient.Request($"/v1/completions?key={QueryKey}", "{}"))
            await client.SendAsync(asked);
        foreach (string path in (string[])["/metrics", "/v1/models", "/openapi/v1.json", "/load"])
            written.Append(await other.GetStringAsync(new Uri(path, UriKind.Relative)));
        foreach (string path in (string[])["/admin/status", "/admin/config", "/admin/requests", "/admin/kv-policies", "/admin/log-level"])
            written.Append(await admin.GetStringAsync(new Uri(path, UriKind.Relative)));
        using (Process kill = Process.Start("/bin/sh", ["-c", $"kill -TERM {process.Id}"]))
            await kill.WaitForExitAsync();
        written.Append(await process.StandardOutput.ReadToEndAsync()).Append(await errors);
        await process.WaitForExitAsync();
        Assert.Equal(0, process.ExitCode);

        string text = written.ToString();
        Assert.DoesNotContain(AnyMark, text, StringComparison.Ordinal);
        // That much was written at all: the lowest log level of the web server, the log of requests, the audit, every signal.
        Assert.Contains("trce: Microsoft.AspNetCore", text, StringComparison.Ordinal);
        Assert.Contains("POST /v1/chat/completions 200", text, StringComparison.Ordinal);
        Assert.Contains("GET /admin/config by key-2", text, StringComparison.Ordinal);
        Assert.Contains("Auth:Keys:0:Value", text, StringComparison.Ordinal);
        Assert.NotEmpty(collector.Spans);
        Assert.NotEmpty(collector.Metrics);
        Assert.NotEmpty(collector.Logs);
        Assert.Equal(OtlpHeader, collector.Authorization);
        Assert.False(collector.Saw(AnyMark));
    }

    [Fact]
    public async Task Neither_a_refused_start_nor_a_listing_shows_a_secret()
    {
        string folder = TinyModel.NewFolder();
        string twice = Path.Combine(folder, "keys");
        await File.WriteAllTextAsync(twice, $"{FileKey} nonsense\n");
        string[][] starts =
        [
            ["--print-config"], ["--dry-run"], ["--api-key", Key + "\n", "--print-config"], ["--api-kye", Key], ["--api-kye=" + Key], ["--api-key-file", twice], ["--api-key-file", "/no/such/file"],
            ["--model", "/no/such/model"], ["--port", "notaport"], ["--model", folder, "--admin-host", "0.0.0.0"],
        ];
        foreach (string[] args in starts)
        {
            using Process process = Start(null, args);
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string written = await process.StandardOutput.ReadToEndAsync() + await errors;
            await process.WaitForExitAsync();
            Assert.True(written.Length > 0, string.Join(' ', args));
            Assert.DoesNotContain(AnyMark, written, StringComparison.Ordinal);
        }
    }

    private static Process Start(string? collector, params string[] args)
    {
        string keys = Path.Combine(TinyModel.NewFolder(), "keys");
        File.WriteAllText(keys, $"{FileKey} inference,metrics,admin\n");
        string server = Path.Combine(AppContext.BaseDirectory, "InferenceService.Server.dll");
        string[] model = args.Contains("--model") ? [] : ["--model", TinyModel.Folder];
        string[] file = args.Contains("--api-key-file") ? [] : ["--api-key-file", keys];
        var start = new ProcessStartInfo("dotnet", [server, .. model, .. file, "--port", "0", "--threads", "1", .. args])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach ((string name, string value) in new Dictionary<string, string>
        {
            ["DOTNET_ENVIRONMENT"] = "Testing",
            ["INFERENCE__Server__DrainDelay"] = "0",
            ["INFERENCE__Server__AdminPort"] = "0",
            ["INFERENCE__Auth__Keys__0"] = Key,
            ["INFERENCE__Logging__LogLevel__Default"] = "Trace",
            ["INFERENCE__Logging__LogLevel__Microsoft"] = "Trace",
            ["INFERENCE__Logging__Console__LogLevel__Default"] = "Trace", // rules of a provider come before those of all
            ["INFERENCE__Logging__Console__LogLevel__Microsoft"] = "Trace",
            ["INFERENCE__Logging__Requests"] = "true",
            ["HF_TOKEN"] = HubToken,
            ["INFERENCE__Hub__Token"] = HubToken,
            ["HUGGING_FACE_HUB_TOKEN"] = HubToken,
            ["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=" + OtlpHeader,
        })
            start.Environment[name] = value;
        if (collector is not null)
            start.Environment["INFERENCE__Telemetry__Otlp__Endpoint"] = collector;
        return Process.Start(start)!;
    }

    // Admin first, then the public one, as the server says them.
    private static async Task<string[]> AddressesAsync(Process process, StringBuilder written)
    {
        string admin = "", line;
        while ((line = await process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException(written.ToString())) is not null)
        {
            written.AppendLine(line);
            if (line.StartsWith("  admin ", StringComparison.Ordinal))
                admin = line.Split(' ')[^1];
            if (line.StartsWith("Listening on ", StringComparison.Ordinal))
                return [admin, line["Listening on ".Length..]];
        }

        throw new InvalidOperationException(written.ToString());
    }

    private static HttpClient NewClient(string address, string key)
    {
        var client = new HttpClient { BaseAddress = new Uri(address) };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    private static async Task SendAsync(HttpClient client, string path, string body)
    {
        using HttpRequestMessage request = ApiClient.Request(path, body);
        using HttpResponseMessage answer = await client.SendAsync(request);
        string text = await answer.Content.ReadAsStringAsync();
        // What comes back may repeat the caller's own words, never anybody's key.
        foreach (string secret in (string[])[Key, FileKey, WrongKey, HubToken, OtlpHeader])
            Assert.DoesNotContain(secret, text, StringComparison.Ordinal);
        Assert.NotEqual(HttpStatusCode.InternalServerError, answer.StatusCode);
    }
}
