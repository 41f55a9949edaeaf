using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api;

/// <summary>Models served with rounded weights, by the flags that ask for them.</summary>
public sealed class WeightFormatTests
{
    [Theory]
    [InlineData("int8", "int8", "none")]
    [InlineData("int4", "int4", "none")]
    [InlineData("none", "none", "bfloat16")]
    public async Task Rounded_weights_are_served_and_their_loss_is_printed(string quantization, string listed, string type)
    {
        string[] dtype = type == "none" ? [] : ["--dtype", type];
        await using TestServer server = await TestServer.StartAsync(["--quantization", quantization, .. dtype]);
        using JsonDocument models = JsonDocument.Parse(await server.Client.GetStringAsync("/v1/models"));
        Assert.Equal(listed, models.RootElement.GetProperty("data")[0].GetProperty("quantization").GetString());
        Assert.Matches(@"rounding +relative error of all matrices \d+\.\d\d ?%, of the worst \d+\.\d\d ?% \(.*\.weight\)", server.Output.ToString());
        Assert.Equal("", server.Error.ToString());
        string format = type == "none" ? quantization : type;
        Assert.Matches($@"weights +.* million parameters, .* as {format} \(output head {(format == "int4" ? "int8" : format)}, stored float32\)", server.Output.ToString());
        var body = new { model = TinyModel.Name, prompt = "Once", max_tokens = 8, temperature = 0 };
        using HttpResponseMessage first = await server.Client.PostAsJsonAsync("/v1/completions", body);
        using HttpResponseMessage second = await server.Client.PostAsJsonAsync("/v1/completions", body);
        Assert.Equal(HttpStatusCode.OK, first.StatusCode);
        using JsonDocument said = JsonDocument.Parse(await first.Content.ReadAsStringAsync()), again = JsonDocument.Parse(await second.Content.ReadAsStringAsync());
        Assert.Equal(8, said.RootElement.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
        Assert.Equal(Text(said), Text(again));
    }

    [Fact]
    public async Task Another_format_is_another_fingerprint()
    {
        var prints = new HashSet<string?>();
        foreach (string quantization in (string[])["none", "int8", "int4"])
        {
            await using TestServer server = await TestServer.StartAsync("--quantization", quantization);
            using HttpResponseMessage answer = await server.Client.PostAsJsonAsync("/v1/completions", new { model = TinyModel.Name, prompt = "a", max_tokens = 1 });
            using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
            prints.Add(body.RootElement.GetProperty("system_fingerprint").GetString());
        }

        Assert.Equal(3, prints.Count);
    }

    private static string? Text(JsonDocument body) => body.RootElement.GetProperty("choices")[0].GetProperty("text").GetString();
}
