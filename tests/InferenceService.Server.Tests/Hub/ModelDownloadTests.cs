using System.Net;
using System.Net.Http.Json;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hub;

namespace InferenceService.Server.Tests.Hub;

/// <summary>A model by its id: what is downloaded, where it lies, and who waits for it.</summary>
public sealed class ModelDownloadTests : DownloadTest
{
    [Fact]
    public async Task A_model_named_by_its_id_is_downloaded_and_served_and_the_server_is_not_ready_meanwhile()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var released = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Hub.Fail(Weights, async (context, contents) =>
        {
            asked.SetResult();
            await released.Task;
            await context.Response.Body.WriteAsync(contents);
        });
        await using TestServer server = await TestServer.StartWithoutModelAsync("--model", "org/tiny", $"Hub:Endpoint={Hub.Endpoint}", $"HF_HUB_CACHE={Cache}");
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
        int requests = Hub.Requests.Count;
        using (HttpResponseMessage other = await CompleteAsync(server, "org/other"))
            Assert.Equal(HttpStatusCode.NotFound, other.StatusCode);
        Assert.Equal(requests, Hub.Requests.Count);
    }

    [Fact]
    public async Task Only_what_a_server_needs_is_downloaded_never_pickles_or_code()
    {
        string folder = await DownloadAsync();
        Assert.Equal(
            ["additional_chat_templates/tool_use.jinja", "chat_template.jinja", "config.json", Weights, "tokenizer.json", "tokenizer_config.json"],
            Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(folder, path)).Order(StringComparer.Ordinal));
        Assert.Equal(7, Hub.Requests.Count); // the list, and each file once
        Assert.All(Directory.GetFiles(folder), path => Assert.Equal(Hub.Files[Path.GetFileName(path)], File.ReadAllBytes(path)));
    }

    [Fact]
    public async Task The_cache_has_the_layout_of_the_hubs_own_clients()
    {
        string folder = await DownloadAsync();
        string root = Path.Combine(Cache, "models--org--tiny");
        Assert.Equal(Path.Combine(root, "snapshots", HubServer.Commit), folder);
        Assert.Equal(HubServer.Commit, File.ReadAllText(Path.Combine(root, "refs", "main")));
        foreach (string name in (string[])["config.json", Weights])
            Assert.Equal($"../../blobs/{HubServer.ChecksumOf(name, Hub.Files[name])}", new FileInfo(Path.Combine(folder, name)).LinkTarget);
        Assert.StartsWith("../../../blobs/", new FileInfo(Path.Combine(folder, "additional_chat_templates/tool_use.jinja")).LinkTarget, StringComparison.Ordinal);
        Assert.Equal(new ModelFolder(folder, "org/tiny"), ModelFolder.Find("org/tiny", Cache));
        Assert.Empty(Directory.GetFiles(root, "*.incomplete", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task What_is_complete_in_the_cache_is_used_without_asking_the_hub()
    {
        string folder = await DownloadAsync();
        Hub.Requests.Clear();
        Assert.Equal(folder, await DownloadAsync());
        Assert.Equal(folder, await DownloadAsync(settings: Settings("HF_HUB_OFFLINE", "1")));
        Assert.Empty(Hub.Requests);
        File.Delete(Path.Combine(folder, Weights));
        Assert.Equal(folder, await DownloadAsync());
        Assert.Equal("/api/models/org/tiny/revision/main", Assert.Single(Hub.Requests).Path); // the blob was still there
    }

    [Fact]
    public async Task Shards_that_the_index_names_are_downloaded_and_no_other_weights()
    {
        byte[] whole = Hub.Files[Weights];
        Hub.Files.Remove(Weights);
        Hub.Files["model-00001-of-00002.safetensors"] = whole[..1000];
        Hub.Files["model-00002-of-00002.safetensors"] = whole[1000..];
        Hub.Files[ModelFiles.Index] = """{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}}"""u8.ToArray();
        string folder = await DownloadAsync();
        Assert.Equal(2, Directory.GetFiles(folder, "*.safetensors").Length);
        Assert.Empty(Hub.Of("consolidated.safetensors"));
    }

    [Fact]
    public async Task A_revision_has_a_reference_of_its_own_and_a_commit_needs_none()
    {
        string folder = await DownloadAsync(Id with { Revision = "refs/pr/1" });
        Assert.Equal("/api/models/org/tiny/revision/refs%2Fpr%2F1", Hub.Requests.First().Path);
        Assert.Equal(HubServer.Commit, File.ReadAllText(Path.Combine(Cache, "models--org--tiny", "refs", "refs", "pr", "1")));
        Hub.Requests.Clear();
        Assert.Equal(folder, await DownloadAsync(Id with { Revision = HubServer.Commit }));
        Assert.Empty(Hub.Requests);
        Assert.Equal(new ModelFolder(folder, "org/tiny"), ModelFolder.Find($"org/tiny@{HubServer.Commit}", Cache));
    }

    [Fact]
    public async Task A_list_without_checksums_is_completed_from_the_tree_page_by_page()
    {
        Hub.KnowsBlobs = false;
        await DownloadAsync();
        Assert.Equal((Hub.Files.Count + 2) / 3, Hub.Of($"/tree/{HubServer.Commit}").Length);
    }

    [Fact]
    public async Task Offline_nothing_is_asked_and_what_is_missing_is_named()
    {
        Assert.Equal(
            $"--model: \"org/tiny\" is not complete in the local cache (nothing of it is in {Cache}), and --offline (Hub:Offline, HF_HUB_OFFLINE) forbids downloading.",
            await FailAsync(Settings("HF_HUB_OFFLINE", "1")));
        string folder = await DownloadAsync();
        Hub.Requests.Clear();
        File.Delete(Path.Combine(folder, Weights));
        Assert.Contains($"(model.safetensors is missing from {folder})", await FailAsync(Settings("INFERENCE__Hub__Offline", "true")), StringComparison.Ordinal);
        Assert.Empty(Hub.Requests);
    }

    [Fact]
    public async Task Two_downloads_of_one_model_share_the_work()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var waits = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Hub.Fail(Weights, async (context, contents) =>
        {
            asked.SetResult();
            await waits.Task;
            await context.Response.Body.WriteAsync(contents);
        });
        Task<string> first = DownloadAsync();
        await asked.Task;
        var output = new AnnouncingWriter("another process downloads model.safetensors; waiting for it");
        var console = new StartupConsole(output, TextWriter.Null, interactive: false);
        Task<string> second = new ModelDownload(Settings(), new HubDisk(), console, Time).EnsureAsync(Id, CancellationToken.None);
        await output.Seen;
        waits.SetResult();
        Assert.Equal(await first, await second);
        Assert.Single(Hub.Of(Weights));
    }

    private static Task<HttpResponseMessage> CompleteAsync(TestServer server, string model) =>
        server.Client.PostAsJsonAsync(new Uri("/v1/completions", UriKind.Relative), new { model, prompt = "Hi", max_tokens = 2 });
}
