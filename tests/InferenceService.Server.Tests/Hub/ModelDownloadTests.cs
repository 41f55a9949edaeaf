using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hub;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Hub;

/// <summary>Downloads from a hub in this process whose answers go wrong in every way that a network knows.</summary>
public sealed class ModelDownloadTests : IAsyncLifetime, IDisposable
{
    private const string Weights = "model.safetensors";
    private static readonly HubModelId Id = new("org", "tiny", "main");
    private readonly string _cache = Path.Combine(TinyModel.NewFolder(), "hub");
    private readonly EagerTime _time = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();
    private HubServer _hub = null!;

    public async Task InitializeAsync() => _hub = await HubServer.StartAsync();

    public async Task DisposeAsync() => await _hub.DisposeAsync();

    public void Dispose()
    {
        _output.Dispose();
        _error.Dispose();
    }

    [Fact]
    public async Task A_model_named_by_its_id_is_downloaded_and_served_and_the_server_is_not_ready_meanwhile()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var released = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _hub.Fail(Weights, async (context, contents) =>
        {
            asked.SetResult();
            await released.Task;
            await context.Response.Body.WriteAsync(contents);
        });
        await using TestServer server = await TestServer.StartWithoutModelAsync("--model", "org/tiny", $"Hub:Endpoint={_hub.Endpoint}", $"HF_HUB_CACHE={_cache}");
        Task loaded = server.Service<ModelCatalog>().LoadAsync(CancellationToken.None);
        await asked.Task;
        using (HttpResponseMessage ready = await server.Client.GetAsync(new Uri("/ready", UriKind.Relative)))
            Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
        using (HttpResponseMessage early = await CompleteAsync(server, "org/tiny"))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, early.StatusCode);
            Assert.Contains("model_loading", await early.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        released.SetResult();
        await loaded;
        using (HttpResponseMessage answer = await CompleteAsync(server, "org/tiny"))
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Matches(@"download +org/tiny, commit 0123456789ab: 6 files, .+ from 127\.0\.0\.1 to ", server.Output.ToString());

        // What a request names is looked up among what is served, and nowhere else.
        int requests = _hub.Requests.Count;
        using (HttpResponseMessage other = await CompleteAsync(server, "org/other"))
            Assert.Equal(HttpStatusCode.NotFound, other.StatusCode);
        Assert.Equal(requests, _hub.Requests.Count);
    }

    [Fact]
    public async Task Only_what_a_server_needs_is_downloaded_never_pickles_or_code()
    {
        string folder = await DownloadAsync();
        Assert.Equal(
            ["additional_chat_templates/tool_use.jinja", "chat_template.jinja", "config.json", Weights, "tokenizer.json", "tokenizer_config.json"],
            Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(folder, path)).Order(StringComparer.Ordinal));
        Assert.Equal(7, _hub.Requests.Count); // the list, and each file once
        Assert.All(Directory.GetFiles(folder), path => Assert.Equal(_hub.Files[Path.GetFileName(path)], File.ReadAllBytes(path)));
    }

    [Fact]
    public async Task The_cache_has_the_layout_of_the_hubs_own_clients()
    {
        string folder = await DownloadAsync();
        string root = Path.Combine(_cache, "models--org--tiny");
        Assert.Equal(Path.Combine(root, "snapshots", HubServer.Commit), folder);
        Assert.Equal(HubServer.Commit, File.ReadAllText(Path.Combine(root, "refs", "main")));
        foreach (string name in (string[])["config.json", Weights])
            Assert.Equal($"../../blobs/{HubServer.ChecksumOf(name, _hub.Files[name])}", new FileInfo(Path.Combine(folder, name)).LinkTarget);
        Assert.StartsWith("../../../blobs/", new FileInfo(Path.Combine(folder, "additional_chat_templates/tool_use.jinja")).LinkTarget, StringComparison.Ordinal);
        Assert.Equal(new ModelFolder(folder, "org/tiny"), ModelFolder.Find("org/tiny", _cache));
        Assert.Empty(Directory.GetFiles(root, "*.incomplete", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task What_is_complete_in_the_cache_is_used_without_asking_the_hub()
    {
        string folder = await DownloadAsync();
        _hub.Requests.Clear();
        Assert.Equal(folder, await DownloadAsync());
        Assert.Equal(folder, await DownloadAsync(settings: Settings("HF_HUB_OFFLINE", "1")));
        Assert.Empty(_hub.Requests);
        File.Delete(Path.Combine(folder, Weights));
        Assert.Equal(folder, await DownloadAsync());
        Assert.Equal("/api/models/org/tiny/revision/main", Assert.Single(_hub.Requests).Path); // the blob was still there
    }

    [Fact]
    public async Task Shards_that_the_index_names_are_downloaded_and_no_other_weights()
    {
        byte[] whole = _hub.Files[Weights];
        _hub.Files.Remove(Weights);
        _hub.Files["model-00001-of-00002.safetensors"] = whole[..1000];
        _hub.Files["model-00002-of-00002.safetensors"] = whole[1000..];
        _hub.Files[ModelFiles.Index] = """{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}}"""u8.ToArray();
        string folder = await DownloadAsync();
        Assert.Equal(2, Directory.GetFiles(folder, "*.safetensors").Length);
        Assert.Empty(_hub.Of("consolidated.safetensors"));
    }

    [Fact]
    public async Task A_revision_has_a_reference_of_its_own_and_a_commit_needs_none()
    {
        string folder = await DownloadAsync(Id with { Revision = "refs/pr/1" });
        Assert.Equal("/api/models/org/tiny/revision/refs%2Fpr%2F1", _hub.Requests.First().Path);
        Assert.Equal(HubServer.Commit, File.ReadAllText(Path.Combine(_cache, "models--org--tiny", "refs", "refs", "pr", "1")));
        _hub.Requests.Clear();
        Assert.Equal(folder, await DownloadAsync(Id with { Revision = HubServer.Commit }));
        Assert.Empty(_hub.Requests);
        Assert.Equal(new ModelFolder(folder, "org/tiny"), ModelFolder.Find($"org/tiny@{HubServer.Commit}", _cache));
    }

    [Fact]
    public async Task A_list_without_checksums_is_completed_from_the_tree_page_by_page()
    {
        _hub.KnowsBlobs = false;
        await DownloadAsync();
        Assert.Equal((_hub.Files.Count + 2) / 3, _hub.Of($"/tree/{HubServer.Commit}").Length);
    }

    [Fact]
    public async Task A_connection_that_breaks_is_resumed_where_it_broke()
    {
        _hub.Fail(Weights, _hub.BreakAfter(40_000), _hub.BreakAfter(30_000));
        await DownloadAsync();
        string tag = $"\"{HubServer.ChecksumOf(Weights, _hub.Files[Weights])}\"";
        Assert.Equal([(null, null), ("bytes=40000-", tag), ("bytes=70000-", tag)], _hub.Of(Weights).Select(request => (request.Range, request.IfRange)));
        Assert.Equal(2, _time.Delays.Count);
        Assert.Matches(@"warning: model\.safetensors of ""org/tiny"": the connection broke; attempt 2 in \d+\.\d s", _error.ToString());
    }

    [Fact]
    public async Task A_file_that_changed_between_attempts_begins_anew()
    {
        int asked = 0;
        _hub.TagOf = _ => $"\"version {asked}\"";
        _hub.Fail(Weights, async (context, contents) =>
        {
            await _hub.BreakAfter(40_000)(context, contents);
            asked++;
        });
        await DownloadAsync();
        Assert.Equal([(null, null), ("bytes=40000-", "\"version 0\"")], _hub.Of(Weights).Select(request => (request.Range, request.IfRange)));
    }

    [Fact]
    public async Task A_server_that_knows_no_ranges_sends_all_of_it_again()
    {
        _hub.Fail(Weights, _hub.BreakAfter(40_000), (context, contents) => context.Response.Body.WriteAsync(contents).AsTask());
        await DownloadAsync();
        Assert.Equal([null, "bytes=40000-"], _hub.Of(Weights).Select(request => request.Range));
    }

    [Fact]
    public async Task A_range_that_was_not_asked_for_or_cannot_be_had_begins_anew()
    {
        Func<HttpContext, byte[], Task> wrong = async (context, contents) =>
        {
            context.Response.StatusCode = 206;
            context.Response.Headers.ContentRange = $"bytes 0-{contents.Length - 1}/{contents.Length}";
            await context.Response.Body.WriteAsync(contents);
        };
        _hub.Fail(Weights, _hub.BreakAfter(40_000), wrong, _hub.BreakAfter(40_000), HubServer.Status(416));
        await DownloadAsync();
        Assert.Equal([null, "bytes=40000-", null, "bytes=40000-", null], _hub.Of(Weights).Select(request => request.Range));
        Assert.Contains("the server sends another range than asked for", _error.ToString(), StringComparison.Ordinal);
        Assert.Contains("the server has not the range that is missing", _error.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(503)]
    [InlineData(429)]
    [InlineData(500)]
    [InlineData(408)]
    public async Task Overload_is_waited_out_as_long_as_the_hub_asks(int status)
    {
        _hub.Fail("api/", HubServer.Status(status, "7"), HubServer.Status(status, DateTimeOffset.UnixEpoch.AddDays(20_000).AddSeconds(90).ToString("R", CultureInfo.InvariantCulture)));
        _hub.Fail("config.json", HubServer.Status(status));
        await DownloadAsync();
        TimeSpan[] delays = [.. _time.Delays];
        Assert.Equal([TimeSpan.FromSeconds(7), TimeSpan.FromSeconds(90)], delays[..2]);
        Assert.InRange(delays[2], TimeSpan.Zero, HubRetry.LongestDelay); // no wish: our own, with jitter
        Assert.Contains($"The list of files of \"org/tiny\": 127.0.0.1 answers {status}; attempt 2 in 7.0 s", _error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_hub_that_asks_to_wait_too_long_is_not_waited_for()
    {
        _hub.Fail("api/", HubServer.Status(429, "3600"));
        Assert.Equal(
            "The list of files of \"org/tiny\" cannot be downloaded: 127.0.0.1 answers 429 and asks to wait 3600 s, which is longer than 10 minutes.", await FailAsync());
        Assert.Empty(_time.Delays);
    }

    [Fact]
    public async Task Attempts_are_bounded_and_wait_longer_each_time()
    {
        _hub.Fail(Weights, [.. Enumerable.Repeat(HubServer.Status(502), 20)]);
        Assert.Equal("model.safetensors of \"org/tiny\" cannot be downloaded: 127.0.0.1 answers 502.", await FailAsync());
        Assert.Equal(9, _hub.Of(Weights).Length);
        TimeSpan[] delays = [.. _time.Delays];
        Assert.Equal(8, delays.Length);
        Assert.All(delays, delay => Assert.InRange(delay, TimeSpan.Zero, HubRetry.LongestDelay));
        Assert.True(delays[4..].Max() > delays[..2].Max());
    }

    [Fact]
    public async Task A_file_that_comes_in_pieces_of_a_megabyte_comes_however_often_it_breaks()
    {
        byte[] large = new byte[6 << 20];
        new Random(5).NextBytes(large);
        _hub.Files[Weights] = large;
        _hub.Fail(Weights, [.. Enumerable.Repeat(_hub.BreakAfter((1 << 20) + 100), 5)]);
        string folder = await DownloadAsync(settings: Settings("INFERENCE__Hub__Retries", "0"));
        Assert.Equal(large, File.ReadAllBytes(Path.Combine(folder, Weights)));
        Assert.Equal(6, _hub.Of(Weights).Length);
    }

    /// <summary>Each attempt brings a good piece, but none that was not there before.</summary>
    [Fact]
    public async Task Contents_that_are_wrong_every_time_are_not_brought_for_ever()
    {
        byte[] right = new byte[3 << 20];
        byte[] wrong = [.. right.Select(_ => (byte)1)];
        _hub.Files[Weights] = right;
        _hub.Fail(Weights, [.. Enumerable.Repeat<Func<HttpContext, byte[], Task>>((context, _) => _hub.BreakAfter((1 << 20) + 100)(context, wrong), 60)]);
        Assert.Contains("the checksum is ", await FailAsync(Settings("INFERENCE__Hub__Retries", "3")), StringComparison.Ordinal);
        Assert.Equal(2 + 4, _hub.Of(Weights).Length);
    }

    [Fact]
    public async Task Silence_is_given_up_and_tried_again()
    {
        Func<HttpContext, byte[], Task> silent = async (context, contents) =>
        {
            await context.Response.Body.WriteAsync(contents.AsMemory(0, 10));
            await context.Response.Body.FlushAsync();
            await Eventually.TrueAsync(() => Partial() is { Length: 10 } || context.RequestAborted.IsCancellationRequested);
            _time.LosePatience();
            await Eventually.TrueAsync(() => context.RequestAborted.IsCancellationRequested);
        };
        _hub.Fail(Weights, silent);
        await DownloadAsync();
        Assert.Contains("the connection sent nothing for 599 s", _error.ToString(), StringComparison.Ordinal);
        Assert.Equal([null, "bytes=10-"], _hub.Of(Weights).Select(request => request.Range));
    }

    [Fact]
    public async Task Contents_with_another_checksum_never_get_a_name()
    {
        Func<HttpContext, byte[], Task> wrong = (context, contents) => context.Response.Body.WriteAsync(contents.Select(b => (byte)~b).ToArray()).AsTask();
        _hub.Fail(Weights, wrong);
        await DownloadAsync(Id with { Revision = "once" });
        Directory.Delete(_cache, recursive: true);
        _hub.Fail(Weights, [.. Enumerable.Repeat(wrong, 20)]);
        Assert.Matches(@"^model\.safetensors of ""org/tiny"" cannot be downloaded: the checksum is [0-9a-f]{64} where the hub states [0-9a-f]{64}\.$", await FailAsync());
        Assert.Equal(0, Partial()!.Length);
        Assert.False(File.Exists(BlobPath));
        Assert.Throws<CheckpointException>(() => ModelFolder.Find("org/tiny", _cache));
    }

    [Theory]
    [InlineData(1, "the server announces 1{0} bytes where the hub states {0}")]
    [InlineData(2, "the server sends more than the {0} bytes that the hub states")]
    [InlineData(3, "the server ended after 5 of {0} bytes")]
    public async Task A_server_that_lies_about_lengths_is_not_believed(int lie, string message)
    {
        int length = _hub.Files[Weights].Length;
        Func<HttpContext, byte[], Task> answer = async (context, contents) =>
        {
            if (context.Request.Headers.Range.Count > 0)
            {
                context.Response.StatusCode = 206; // the rest is nothing
                context.Response.Headers.ContentRange = $"bytes 5-{contents.Length - 1}/{contents.Length}";
                return;
            }

            context.Response.ContentLength = lie switch { 1 => long.Parse($"1{contents.Length}", CultureInfo.InvariantCulture), 3 => 5, _ => null };
            await context.Response.Body.WriteAsync(lie == 2 ? (byte[])[.. contents, 0] : contents[..5]);
        };
        _hub.Fail(Weights, [.. Enumerable.Repeat(answer, 20)]);
        Assert.Equal($"model.safetensors of \"org/tiny\" cannot be downloaded: {string.Format(CultureInfo.InvariantCulture, message, length)}.", await FailAsync());
    }

    [Fact]
    public async Task The_token_goes_to_the_endpoint_and_not_to_whom_it_redirects_to()
    {
        (_hub.Token, _hub.RedirectsWeights) = ("hf_secret", true);
        _hub.Fail(Weights, _hub.BreakAfter(40_000));
        await DownloadAsync(settings: Settings("HF_TOKEN", "hf_secret"));
        HubRequest[] redirected = [.. _hub.Of(Weights).Where(request => request.Port != _hub.Port)];
        Assert.Equal([null, "bytes=40000-"], redirected.Select(request => request.Range));
        Assert.All(redirected, request => Assert.Null(request.Authorization));
        Assert.All(_hub.Requests.Where(request => request.Port == _hub.Port), request => Assert.Equal("Bearer hf_secret", request.Authorization));
        Assert.DoesNotContain("secret", _output.ToString() + _error, StringComparison.Ordinal); // neither the token nor a signature in an address
    }

    [Fact]
    public async Task Redirects_end_somewhere()
    {
        _hub.Fail("config.json", [.. Enumerable.Repeat<Func<HttpContext, byte[], Task>>((context, _) =>
        {
            context.Response.Redirect(context.Request.Path);
            return Task.CompletedTask;
        }, 20)]);
        Assert.Equal("127.0.0.1 redirects more than 8 times.", await FailAsync());
        _hub.Fail("config.json", (context, _) =>
        {
            context.Response.Redirect("ftp://example.org/config.json");
            return Task.CompletedTask;
        });
        Assert.Equal("127.0.0.1 redirects to nowhere.", await FailAsync());
    }

    [Theory]
    [InlineData(401, "", "--model: \"org/tiny\" is not at 127.0.0.1 (401), or needs a token (HF_TOKEN or Hub:TokenFile).")]
    [InlineData(404, "RepoNotFound", "--model: \"org/tiny\" is not at 127.0.0.1 (404), or needs a token (HF_TOKEN or Hub:TokenFile).")]
    [InlineData(404, "RevisionNotFound", "--model: \"org/tiny\" has no revision \"main\" at 127.0.0.1.")]
    [InlineData(403, "GatedRepo", "--model: \"org/tiny\" is open only to users whom its owners admitted; ask for that at 127.0.0.1, and give such a user's token (HF_TOKEN or Hub:TokenFile).")]
    [InlineData(418, "", "--model: \"org/tiny\" cannot be downloaded: 127.0.0.1 answers 418.")]
    public async Task A_refusal_is_one_line_that_says_what_to_do_and_is_not_repeated(int status, string code, string message)
    {
        _hub.Fail("api/", HubServer.Status(status, code: code));
        Assert.Equal(message, await FailAsync());
        Assert.Single(_hub.Requests);
    }

    [Theory]
    [InlineData("../evil.json")]
    [InlineData("/etc/passwd")]
    [InlineData("a/../../../evil")]
    [InlineData("a\\..\\evil")]
    [InlineData("a//b")]
    [InlineData("")]
    public async Task A_list_with_a_file_outside_of_the_model_folder_is_refused_as_a_whole(string name)
    {
        _hub.Edit = listing => listing["siblings"]![0]!["rfilename"] = name;
        Assert.Equal("The hub names a file that lies outside of the model folder; nothing of it is taken.", await FailAsync());
        Assert.Single(_hub.Requests);
        Assert.False(Directory.Exists(_cache));
    }

    [Theory]
    [InlineData("../../../evil.safetensors", "model.safetensors.index.json: a shard is not the plain name of a .safetensors file.")]
    [InlineData("weights.bin", "model.safetensors.index.json: a shard is not the plain name of a .safetensors file.")]
    [InlineData("missing.safetensors", "--model: model.safetensors.index.json of \"org/tiny\" names missing.safetensors, which its hub does not have.")]
    public async Task An_index_names_only_weights_that_the_model_has(string shard, string message)
    {
        _hub.Files.Remove(Weights);
        _hub.Files[ModelFiles.Index] = Encoding.UTF8.GetBytes(new JsonObject { ["weight_map"] = new JsonObject { ["a"] = shard } }.ToJsonString());
        Assert.Equal(message, await FailAsync());
    }

    [Theory]
    [InlineData("sha", "../../x")]
    [InlineData("blobId", "../../../../x")]
    [InlineData("size", "-1")]
    [InlineData("rfilename", "null")]
    public async Task Names_and_sizes_of_a_list_are_checked_before_they_are_used(string field, string value)
    {
        _hub.Edit = listing =>
        {
            JsonNode at = field == "sha" ? listing : listing["siblings"]![0]!;
            at[field] = value switch { "-1" => -1, "null" => null, _ => value };
        };
        Assert.StartsWith("The hub", await FailAsync(), StringComparison.Ordinal);
        Assert.False(Directory.Exists(_cache));
    }

    [Fact]
    public async Task What_cannot_be_served_is_refused_before_any_weight_is_downloaded()
    {
        _hub.Files.Remove("tokenizer.json");
        Assert.Equal("--model: \"org/tiny\" has no tokenizer.json, which is needed to serve it.", await FailAsync());
        _hub.Files["tokenizer.json"] = [];
        byte[] weights = _hub.Files[Weights];
        _hub.Files.Remove(Weights);
        Assert.Equal("--model: \"org/tiny\" has neither model.safetensors nor model.safetensors.index.json; weights in other formats are never downloaded.", await FailAsync());
        _hub.Files[Weights] = weights;
        Assert.Matches(@"^--model: ""org/tiny"" has \d+ bytes; Hub:MaxBytes allows 65536\.$", await FailAsync(Settings("INFERENCE__Hub__MaxBytes", "65536")));
        Assert.Empty(_hub.Of(Weights));
    }

    [Fact]
    public async Task Too_small_a_disk_is_noticed_before_the_download()
    {
        _hub.Files[Weights] = new byte[8 << 20];
        string message = await FailAsync(disk: new SmallDisk(free: 20_000_000, room: long.MaxValue));
        Assert.Equal($"--model: \"org/tiny\" needs 24 MiB more on the disk of {_cache}, which has 19.07 MiB free.", message);
        Assert.Empty(_hub.Of(Weights));
    }

    [Fact]
    public async Task A_disk_that_runs_full_is_one_line_and_what_is_there_is_kept()
    {
        byte[] large = new byte[3 << 20];
        new Random(6).NextBytes(large);
        _hub.Files[Weights] = large;
        string message = await FailAsync(disk: new SmallDisk(free: long.MaxValue, room: 2 << 20));
        Assert.Equal($"The disk of {_cache} is full after 2 MiB of model.safetensors, which has 3 MiB; free at least 1 MiB and start again: what is there is kept ({BlobPath}.incomplete).", message);
        Assert.Equal(2 << 20, Partial()!.Length);
        string folder = await DownloadAsync();
        Assert.Equal($"bytes={2 << 20}-", _hub.Of(Weights)[^1].Range);
        Assert.Equal(large, File.ReadAllBytes(Path.Combine(folder, Weights)));
    }

    [Fact]
    public async Task Offline_nothing_is_asked_and_what_is_missing_is_named()
    {
        Assert.Equal(
            $"--model: \"org/tiny\" is not complete in the local cache (nothing of it is in {_cache}), and --offline (Hub:Offline, HF_HUB_OFFLINE) forbids downloading.",
            await FailAsync(Settings("HF_HUB_OFFLINE", "1")));
        string folder = await DownloadAsync();
        _hub.Requests.Clear();
        File.Delete(Path.Combine(folder, Weights));
        Assert.Contains($"(model.safetensors is missing from {folder})", await FailAsync(Settings("INFERENCE__Hub__Offline", "true")), StringComparison.Ordinal);
        Assert.Empty(_hub.Requests);
    }

    [Fact]
    public async Task Two_downloads_of_one_model_share_the_work()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var waits = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _hub.Fail(Weights, async (context, contents) =>
        {
            asked.SetResult();
            await waits.Task;
            await context.Response.Body.WriteAsync(contents);
        });
        Task<string> first = DownloadAsync();
        await asked.Task;
        var output = new AnnouncingWriter("another process downloads model.safetensors; waiting for it");
        var console = new StartupConsole(output, TextWriter.Null, interactive: false);
        Task<string> second = new ModelDownload(Settings(), new HubDisk(), console, _time).EnsureAsync(Id, CancellationToken.None);
        await output.Seen;
        waits.SetResult();
        Assert.Equal(await first, await second);
        Assert.Single(_hub.Of(Weights));
    }

    [Fact]
    public async Task A_download_that_is_told_to_end_ends_and_the_next_one_continues_it()
    {
        using var ending = new CancellationTokenSource();
        _hub.Fail(Weights, async (context, contents) =>
        {
            await context.Response.Body.WriteAsync(contents.AsMemory(0, 50_000));
            await context.Response.Body.FlushAsync();
            await Eventually.TrueAsync(() => Partial() is { Length: 50_000 });
            await ending.CancelAsync();
            await Eventually.TrueAsync(() => context.RequestAborted.IsCancellationRequested);
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => DownloadAsync(cancellation: ending.Token));
        Assert.Equal(50_000, Partial()!.Length);
        Assert.Throws<CheckpointException>(() => ModelFolder.Find("org/tiny", _cache));
        await DownloadAsync();
        Assert.Equal([null, "bytes=50000-"], _hub.Of(Weights).Select(request => request.Range));
    }

    [Fact]
    public async Task An_endpoint_that_is_not_there_is_one_line()
    {
        HubSettings settings = Settings();
        await _hub.DisposeAsync();
        string message = await FailAsync(settings);
        Assert.StartsWith("The list of files of \"org/tiny\" cannot be downloaded: 127.0.0.1 cannot be reached (", message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
    }

    private string BlobPath => Path.Combine(_cache, "models--org--tiny", "blobs", HubServer.ChecksumOf(Weights, _hub.Files[Weights]));

    private FileInfo? Partial() => new FileInfo(BlobPath + ".incomplete") is { Exists: true } file ? file : null;

    private HubSettings Settings(string name = "UNUSED", string value = "")
    {
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string> { ["HF_ENDPOINT"] = _hub.Endpoint, ["HF_HUB_CACHE"] = _cache, [name] = value, ["INFERENCE__Hub__IdleTimeout"] = "599s" } };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse([]), environment, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        return HubSettings.From(reading.Options.Hub, environment);
    }

    private Task<string> DownloadAsync(HubModelId? id = null, HubSettings? settings = null, HubDisk? disk = null, CancellationToken cancellation = default) =>
        new ModelDownload(settings ?? Settings(), disk ?? new HubDisk(), new StartupConsole(_output, _error, interactive: false), _time).EnsureAsync(id ?? Id, cancellation);

    private async Task<string> FailAsync(HubSettings? settings = null, HubDisk? disk = null) =>
        (await Assert.ThrowsAsync<CheckpointException>(() => DownloadAsync(settings: settings, disk: disk))).Message;

    private static Task<HttpResponseMessage> CompleteAsync(TestServer server, string model) =>
        server.Client.PostAsJsonAsync(new Uri("/v1/completions", UriKind.Relative), new { model, prompt = "Hi", max_tokens = 2 });

    /// <summary>A disk that says it has so much free, and takes so much of each file.</summary>
    private sealed class SmallDisk(long free, long room) : HubDisk
    {
        public override long FreeBytes(string folder) => free;

        public override Stream OpenPartial(string path) => new FullStream(path, room);
    }

    private sealed class FullStream(string path, long room) : FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite)
    {
        // As Linux does: what still fits is written, then the error of the system.
        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int fits = (int)Math.Min(buffer.Length, room - Length);
            await base.WriteAsync(buffer[..fits], cancellationToken);
            await FlushAsync(cancellationToken);
            if (fits < buffer.Length)
                throw new IOException("No space left on device", 28);
        }
    }
}
