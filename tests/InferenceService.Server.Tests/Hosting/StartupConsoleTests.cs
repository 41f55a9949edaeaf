using InferenceService.Models;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

public sealed class StartupConsoleTests
{
    [Fact]
    public void Without_a_terminal_progress_is_a_few_lines()
    {
        using var output = new StringWriter();
        var console = new StartupConsole(output, TextWriter.Null, interactive: false);
        for (int i = 0; i <= 1000; i++)
            console.Report(new LoadProgress(i << 20, 1000 << 20));
        string[] lines = output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(5, lines.Length);
        Assert.EndsWith("100 % of 1000 MiB", lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void On_a_terminal_progress_is_a_bar_that_is_drawn_over()
    {
        using var output = new StringWriter();
        var console = new StartupConsole(output, TextWriter.Null, interactive: true);
        console.Report(new LoadProgress(1, 2));
        console.Report(new LoadProgress(2, 2));
        string[] frames = output.ToString().Split('\r', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, frames.Length);
        Assert.Contains("[###############...............]", frames[0], StringComparison.Ordinal);
        Assert.EndsWith("\n", frames[1], StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_to_load_draws_nothing()
    {
        using var output = new StringWriter();
        new StartupConsole(output, TextWriter.Null, interactive: true).Report(new LoadProgress(0, 0));
        Assert.Equal("", output.ToString());
    }
}
