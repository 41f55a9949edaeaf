using System.Text;
using System.Text.Json.Nodes;
using InferenceService.Server.Hub;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Hub;

/// <summary>Answers of a hub that refuse, lead elsewhere or cannot be true.</summary>
public sealed class HubAnswerTests : DownloadTest
{
    [Fact]
    public async Task The_token_goes_to_the_endpoint_and_not_to_whom_it_redirects_to()
    {
        (Hub.Token, Hub.RedirectsWeights) = ("hf_secret", true);
        Hub.Fail(Weights, Hub.BreakAfter(40_000));
        await DownloadAsync(settings: Settings("HF_TOKEN", "hf_secret"));
        HubRequest[] redirected = [.. Hub.Of(Weights).Where(request => request.Port != Hub.Port)];
        Assert.Equal([null, "bytes=40000-"], redirected.Select(request => request.Range));
        Assert.All(redirected, request => Assert.Null(request.Authorization));
        Assert.All(Hub.Requests.Where(request => request.Port == Hub.Port), request => Assert.Equal("Bearer hf_secret", request.Authorization));
        Assert.DoesNotContain("secret", Output.ToString() + Warnings, StringComparison.Ordinal); // neither the token nor a signature in an address
    }

    [Fact]
    public async Task Redirects_end_somewhere()
    {
        Hub.Fail("config.json", [.. Enumerable.Repeat<Func<HttpContext, byte[], Task>>((context, _) =>
        {
            context.Response.Redirect(context.Request.Path);
            return Task.CompletedTask;
        }, 20)]);
        Assert.Equal("127.0.0.1 redirects more than 8 times.", await FailAsync());
    }

    [Theory]
    [InlineData("ftp://example.org/config.json")]
    [InlineData("http:///config.json")]
    public async Task A_redirect_that_cannot_be_followed_is_one_line(string location)
    {
        Hub.Fail("config.json", (context, _) =>
        {
            context.Response.Redirect(location);
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
        Hub.Fail("api/", HubServer.Status(status, code: code));
        Assert.Equal(message, await FailAsync());
        Assert.Single(Hub.Requests);
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
        Hub.Edit = listing => listing["siblings"]![0]!["rfilename"] = name;
        Assert.Equal("The hub names a file that lies outside of the model folder; nothing of it is taken.", await FailAsync());
        Assert.Single(Hub.Requests);
        Assert.False(Directory.Exists(Cache));
    }

    [Theory]
    [InlineData("../../../evil.safetensors", "model.safetensors.index.json: a shard is not the plain name of a .safetensors file.")]
    [InlineData("weights.bin", "model.safetensors.index.json: a shard is not the plain name of a .safetensors file.")]
    [InlineData("missing.safetensors", "--model: model.safetensors.index.json of \"org/tiny\" names missing.safetensors, which its hub does not have.")]
    public async Task An_index_names_only_weights_that_the_model_has(string shard, string message)
    {
        Hub.Files.Remove(Weights);
        Hub.Files[ModelFiles.Index] = Encoding.UTF8.GetBytes(new JsonObject { ["weight_map"] = new JsonObject { ["a"] = shard } }.ToJsonString());
        Assert.Equal(message, await FailAsync());
    }

    [Theory]
    [InlineData("sha", "../../x")]
    [InlineData("blobId", "../../../../x")]
    [InlineData("size", "-1")]
    [InlineData("rfilename", "null")]
    public async Task Names_and_sizes_of_a_list_are_checked_before_they_are_used(string field, string value)
    {
        Hub.Edit = listing =>
        {
            JsonNode at = field == "sha" ? listing : listing["siblings"]![0]!;
            at[field] = value switch { "-1" => -1, "null" => null, _ => value };
        };
        Assert.StartsWith("The hub", await FailAsync(), StringComparison.Ordinal);
        Assert.False(Directory.Exists(Cache));
    }

    [Fact]
    public async Task What_cannot_be_served_is_refused_before_any_weight_is_downloaded()
    {
        Hub.Files.Remove("tokenizer.json");
        Assert.Equal("--model: \"org/tiny\" has no tokenizer.json, which is needed to serve it.", await FailAsync());
        Hub.Files["tokenizer.json"] = [];
        byte[] weights = Hub.Files[Weights];
        Hub.Files.Remove(Weights);
        Assert.Equal("--model: \"org/tiny\" has neither model.safetensors nor model.safetensors.index.json; weights in other formats are never downloaded.", await FailAsync());
        Hub.Files[Weights] = weights;
        Assert.Matches(@"^--model: ""org/tiny"" has \d+ bytes; Hub:MaxBytes allows 65536\.$", await FailAsync(Settings("INFERENCE__Hub__MaxBytes", "65536")));
        Assert.Empty(Hub.Of(Weights));
    }

    [Fact]
    public async Task An_endpoint_that_is_not_there_is_one_line()
    {
        HubSettings settings = Settings();
        await Hub.DisposeAsync();
        string message = await FailAsync(settings);
        Assert.StartsWith("The list of files of \"org/tiny\" cannot be downloaded: 127.0.0.1 cannot be reached (", message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
    }
}
