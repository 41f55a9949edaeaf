using System.CommandLine;
using System.Globalization;
using InferenceService.Benchmarks.Machine;
using Spectre.Console;

namespace InferenceService.Benchmarks.Reports;

/// <summary>One section of a result file: title, command, machine, commit, table.</summary>
internal static class ResultFile
{
    public static Option<string?> OutOption() => new("--out") { Description = "Markdown file to append the result to." };

    /// <summary>Shows the table; appends it with machine, commit and the command line to <paramref name="path"/> when one is given.</summary>
    public static void Publish(string title, ResultTable table, string? path)
    {
        AnsiConsole.MarkupLineInterpolated($"[bold]{title}[/]");
        AnsiConsole.Write(table.ToConsole());
        if (path is null)
            return;
        string date = TimeProvider.System.GetUtcNow().ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture);
        File.AppendAllText(path, $"""

            ## {title}

            {date}; {MachineFacts.Read().ToMarkdown()}

            `{CommandLine()}`

            {table.ToMarkdown()}
            """.ReplaceLineEndings("\n"));
    }

    private static string CommandLine() =>
        "dotnet run -c Release --project tests/InferenceService.Benchmarks -- " + string.Join(' ', Environment.GetCommandLineArgs()[1..]);
}
