namespace InferenceService.Engine.Tests;

public sealed class StatisticsBoardTests
{
    [Fact]
    public async Task A_reader_never_sees_half_of_an_update()
    {
        var board = new StatisticsBoard();
        using var started = new SemaphoreSlim(0);
        const long last = 200_000;
        var writer = new Thread(() =>
        {
            started.Release();
            for (long i = 1; i <= last; i++)
                board.Publish(new EngineStatistics((int)i, (int)i, (int)i, (int)i, (int)i, i, i, i, i, i, i, i, i));
        });
        writer.Start();
        await started.WaitAsync();
        EngineStatistics seen;
        do
        {
            seen = board.Read();
            Assert.Equal(((long)seen.Running, seen.Steps, seen.StepSeconds), (seen.BlocksCached, seen.Preemptions, seen.HostSeconds));
        }
        while (seen.Steps < last);
        writer.Join();
    }
}
