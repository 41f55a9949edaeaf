using System.Net.Http.Json;
using System.Text.Json;

namespace InferenceService.Server.Tests.Api;

/// <summary>Servers that keep rounded matrices from one start to the next.</summary>
public sealed class PackedCacheTests
{
    [Theory]
    [InlineData("true")]
    [InlineData("folder")]
    public async Task A_second_start_says_the_same_from_the_file(string where)
    {
        string folder = TinyModel.NewFolder(), cache = where == "true" ? folder : Path.Combine(folder, "cache");
        TinyModel.Write(folder);
        string plain = await SayAsync(folder, null), first = await SayAsync(folder, where == "true" ? where : cache);
        string file = Assert.Single(Directory.GetFiles(cache, "*.packed"));
        DateTime written = File.GetLastWriteTimeUtc(file);
        string second = await SayAsync(folder, where == "true" ? where : cache);
        Assert.Equal((plain, plain), (first, second));
        Assert.Equal(written, File.GetLastWriteTimeUtc(file));
        Assert.Single(Directory.GetFiles(cache, "*.packed*"));
    }

    [Fact]
    public async Task A_checkpoint_that_was_written_again_is_packed_again()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        await SayAsync(folder, "true");
        foreach (string weights in Directory.GetFiles(folder, "*.safetensors"))
            File.SetLastWriteTimeUtc(weights, DateTime.UnixEpoch);
        await SayAsync(folder, "true");
        Assert.Equal(2, Directory.GetFiles(folder, "*.packed").Length);
    }

    [Fact]
    public async Task A_damaged_file_is_one_warning_and_the_answer_is_the_same()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder);
        string said = await SayAsync(folder, "true"), file = Assert.Single(Directory.GetFiles(folder, "*.packed"));
        File.WriteAllBytes(file, File.ReadAllBytes(file)[..100]);
        Assert.Equal(said, await SayAsync(folder, "true", $"warning: The packed weights in {file} cannot be used: "));
        Assert.Equal(said, await SayAsync(folder, "true"));
    }

    [Fact]
    public async Task A_folder_that_cannot_be_written_is_one_warning_and_the_model_is_served()
    {
        string folder = TinyModel.NewFolder(), file = Path.Combine(folder, "config.json");
        TinyModel.Write(folder);
        await SayAsync(folder, Path.Combine(file, "below"), "warning: The packed weights cannot be kept in ");
    }

    [Fact]
    public async Task Weights_that_stay_as_stored_have_no_use_for_it()
    {
        await using TestServer server = await TestServer.StartAsync("Models:0:PackedCache=true");
        Assert.StartsWith("warning: PackedCache has no effect on weights that stay as stored", server.Error.ToString(), StringComparison.Ordinal);
    }

    private static async Task<string> SayAsync(string model, string? cache, string warning = "")
    {
        string[] setting = cache is null ? [] : [$"Models:0:PackedCache={cache}"];
        await using TestServer server = await TestServer.StartAsync(["--model", model, "--quantization", "int8", .. setting]);
        string[] warnings = server.Error.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        if (warning.Length == 0)
            Assert.Empty(warnings);
        else
            Assert.StartsWith(warning, Assert.Single(warnings), StringComparison.Ordinal);
        using HttpResponseMessage answer = await server.Client.PostAsJsonAsync("/v1/completions", new { model = TinyModel.Name, prompt = "Once", max_tokens = 12, temperature = 0 });
        using JsonDocument body = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
        return body.RootElement.GetProperty("choices")[0].GetProperty("text").GetString()!;
    }
}
