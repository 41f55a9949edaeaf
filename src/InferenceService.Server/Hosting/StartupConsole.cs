using System.Globalization;
using InferenceService.Models;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting;

/// <summary>The only writer to standard output: what an operator reads while the server starts. Everything later goes to the log.</summary>
/// <param name="output">Where to write.</param>
/// <param name="error">Where problems go.</param>
/// <param name="interactive">A terminal: progress is drawn as a bar in place instead of sparse lines.</param>
internal sealed class StartupConsole(TextWriter output, TextWriter error, bool interactive) : IProgress<LoadProgress>
{
    private const int BarWidth = 30;
    private const int SparseSteps = 4;
    private int _shown = -1;
    private string _label = "loading";

    /// <summary>Where help and listings go.</summary>
    public TextWriter Output { get; } = output;

    /// <summary>The console of this process.</summary>
    public static StartupConsole OfProcess() => new(Console.Out, Console.Error, !Console.IsOutputRedirected);

    /// <summary>One line.</summary>
    public void Line(string text) => Output.WriteLine(text);

    /// <summary>A label and its value, in columns.</summary>
    public void Fact(string label, string value) => Output.WriteLine($"  {label,-14} {value}");

    /// <summary>One line about what prevents the start.</summary>
    public void Problem(string text) => error.WriteLine($"error: {text}");

    /// <summary>One line about what an operator should know.</summary>
    public void Warning(string text) => error.WriteLine($"warning: {text}");

    /// <summary>Begins a new progress bar.</summary>
    public void BeginProgress(string label = "loading") => (_shown, _label) = (-1, label);

    /// <summary>Shows how far the weights have come, from the hub or into memory.</summary>
    public void Report(LoadProgress value)
    {
        if (value.BytesTotal <= 0)
            return;
        int percent = (int)(100 * value.BytesDone / value.BytesTotal);
        int step = interactive ? percent : percent * SparseSteps / 100;
        if (step == _shown)
            return;
        _shown = step;
        string amount = string.Create(CultureInfo.InvariantCulture, $"{percent,3} % of {HumanValues.Bytes(value.BytesTotal)}");
        if (!interactive)
        {
            Fact(_label, amount.TrimStart());
            return;
        }

        int filled = BarWidth * percent / 100;
        Output.Write($"\r  {_label,-14} [{new string('#', filled)}{new string('.', BarWidth - filled)}] {amount}");
        if (percent == 100)
            Output.WriteLine();
        Output.Flush();
    }
}
