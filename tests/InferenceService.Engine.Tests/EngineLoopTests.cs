namespace InferenceService.Engine.Tests;

public sealed class EngineLoopTests
{
    [Fact]
    public void Greedy_output_equals_the_naive_loop()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        int[] prompt = EngineRun.Prompt(13, 3);
        EngineRun.Output output = run.Run(EngineRun.Request(prompt, 20))[0];
        Assert.Equal(NaiveDecoder.Greedy(model.Decoder, prompt, 20), output.Tokens);
        Assert.Equal(FinishReason.Length, output.Finish);
        run.AssertNothingOwned();
    }
}
