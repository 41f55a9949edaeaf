using System.Text;
using Spectre.Console;

namespace InferenceService.Benchmarks.Reports;

/// <summary>Rows of text, shown on the terminal and written as Markdown.</summary>
internal sealed class ResultTable(params string[] columns)
{
    private readonly List<string[]> _rows = [];

    public void Add(params string[] cells)
    {
        if (cells.Length != columns.Length)
            throw new ArgumentException($"{cells.Length} cells for {columns.Length} columns.", nameof(cells));
        _rows.Add(cells);
    }

    public Table ToConsole()
    {
        var table = new Table().Border(TableBorder.Rounded);
        foreach (string column in columns)
            table.AddColumn(Markup.Escape(column));
        foreach (string[] row in _rows)
            table.AddRow([.. row.Select(Markup.Escape)]);
        return table;
    }

    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.Append("| ").AppendJoin(" | ", columns).AppendLine(" |");
        text.Append('|').Insert(text.Length, "---|", columns.Length).AppendLine();
        foreach (string[] row in _rows)
            text.Append("| ").AppendJoin(" | ", row).AppendLine(" |");
        return text.ToString();
    }
}
