using System.Net.Http.Json;
using System.Text.Json;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Devices;

namespace InferenceService.Server.Tests.Hosting;

/// <summary>A checkpoint whose layers share caches, from the folder to the socket.</summary>
public sealed class SharedCachesTests
{
    private static readonly ProcessEnvironment NoVariables = new() { Variables = new Dictionary<string, string>() };

    private static string Folder()
    {
        string folder = TinyModel.NewFolder();
        TinyModel.Write(folder, sharing: true);
        return folder;
    }

    private static ModelPlan Open(string folder, string policy, EngineSection? engine = null) =>
        ModelPlan.Open(new ModelOptions { Path = folder, KvCache = new KvCacheOptions { Policy = policy } }, engine ?? new EngineSection(), NoVariables, DeviceRoom.Host(1L << 30), null);

    [Theory]
    [InlineData("lckv")]
    [InlineData("full")]
    public async Task It_is_listed_and_answers(string policy)
    {
        await using TestServer server = await TestServer.StartAsync("--model", Folder(), "--kv-policy", policy);
        using JsonDocument models = JsonDocument.Parse(await server.Client.GetStringAsync("v1/models"));
        Assert.Equal(TinyModel.Name, models.RootElement.GetProperty("data")[0].GetProperty("id").GetString());
        string prompt = string.Concat(Enumerable.Repeat("A prompt of more than one chunk. ", 8));
        var texts = new List<string>();
        for (int i = 0; i < 2; i++)
        {
            HttpResponseMessage response = await server.Client.PostAsJsonAsync("v1/completions", new { prompt, max_tokens = 20, temperature = 0, n = 1 });
            using JsonDocument body = JsonDocument.Parse(await response.Content.ReadAsStringAsync());
            texts.Add(body.RootElement.GetProperty("choices")[0].GetProperty("text").GetString()!);
            Assert.Equal(i * 256, body.RootElement.GetProperty("usage").GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt32());
        }

        Assert.Equal(20, texts[0].Length);
        Assert.Equal(texts[0], texts[1]);
    }

    [Fact]
    public void Its_prompts_go_in_chunks_of_whole_blocks_that_a_step_holds()
    {
        string folder = Folder();
        int Chunk(int blockSize, int batchTokens)
        {
            using ModelPlan plan = Open(folder, "lckv", new EngineSection { BlockSize = blockSize, MaxNumBatchedTokens = batchTokens, MaxNumSeqs = 4 });
            Assert.Equal(plan.PromptChunk + 4, plan.Limits.MaxLogitRows);
            return plan.PromptChunk;
        }

        Assert.Equal((64, 48, 128, 16), (Chunk(16, 2048), Chunk(24, 2048), Chunk(128, 2048), Chunk(16, 20)));
        Assert.Equal("--max-num-batched-tokens: 20 is less than a block of 32; prompts of a model whose layers read from above go in whole blocks.",
            Assert.Throws<CheckpointException>(() => Chunk(32, 20)).Message);
    }

    [Fact]
    public void Half_the_layers_take_half_the_pool()
    {
        string plain = TinyModel.NewFolder();
        TinyModel.Write(plain);
        using ModelPlan own = Open(plain, "full"), shared = Open(Folder(), "full");
        Assert.Equal(own.Memory.BlockBytes, 2 * shared.Memory.BlockBytes);
        Assert.NotEqual(own.OutputFacts, shared.OutputFacts);
        Assert.Throws<CheckpointException>(() => Open(plain, "lckv"));
    }
}
