using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace InferenceService.Server.Configuration;

/// <summary>The command line, read: settings for the strongest layer, and what to do instead of serving.</summary>
internal sealed class CommandLine
{
    private static readonly ParserConfiguration Rules = new() { EnablePosixBundling = false, ResponseFileTokenReplacer = null };
    private readonly RootCommand _root = new("Serves a language model over the OpenAI HTTP API.");
    private readonly Argument<string?> _model = new("model") { Arity = ArgumentArity.ZeroOrOne, Description = "Same as --model.", HelpName = "MODEL" };
    private readonly Option<bool> _printConfig = new("--print-config") { Description = "Print every setting in force with its source, then exit." };
    private readonly Option<bool> _dryRun = new("--dry-run") { Description = "Check files, print the memory plan, then exit." };
    private readonly Option<string?> _planCapacity = new("--plan-capacity")
    {
        Arity = ArgumentArity.ZeroOrOne,
        HelpName = "LENGTH:WEIGHT,…",
        Description = "Print how many requests fit, of every length or of this mix (512:70,4k:30), then exit.",
    };

    private readonly Option<bool> _downloadOnly = new("--download-only") { Description = "Download the models that are named by id, check every file, then exit." };
    private readonly Option<bool> _healthCheck = new("--health-check") { Description = "Ask the server that runs with these settings whether it is ready; exit with 0 or 1." };
    private readonly List<(Flag Flag, Option Yes, Option? No)> _options = [];
    private readonly Dictionary<string, string> _values = new(StringComparer.OrdinalIgnoreCase);

    private CommandLine(IReadOnlyList<string> args)
    {
        BuildOptions();
        Result = _root.Parse([.. args.Select(Dashes)], Rules);
        ReportUnknown();
        foreach ((Flag flag, Option yes, Option? no) in _options)
            Take(flag, Result.GetResult(yes), no is null ? null : Result.GetResult(no));
        TakeModel();
        // Host or port on the command line beat addresses that a weaker source lists.
        if (_values.ContainsKey("Server:Host") || _values.ContainsKey("Server:Port") || _values.ContainsKey("Server:UnixSocket"))
            _values["Server:Urls"] = "";
        IEnumerable<string> complaints = Result.Errors.Select(error => error.Message.ReplaceLineEndings(" "));
        Problems.AddRange(complaints.Where(complaint => !IsReported(complaint)).ToArray());
    }

    /// <summary>Parser's result; runs <c>--help</c> and <c>--version</c>.</summary>
    public ParseResult Result { get; }

    /// <summary>The settings.</summary>
    public ConfigurationLayer Layer => new(LayerKind.CommandLine, "command line", _values);

    /// <summary>One line each.</summary>
    public List<string> Problems { get; } = [];

    /// <summary>Print settings and exit.</summary>
    public bool PrintConfig => Result.GetValue(_printConfig);

    /// <summary>Print the memory plan and exit.</summary>
    public bool DryRun => Result.GetValue(_dryRun);

    /// <summary>Print how many requests fit and exit.</summary>
    public bool WantsCapacity => Result.GetResult(_planCapacity) is { Implicit: false };

    /// <summary>Lengths to plan for; null = of every length.</summary>
    public string? CapacityMix => Result.GetValue(_planCapacity);

    /// <summary>Download models and exit.</summary>
    public bool DownloadOnly => Result.GetValue(_downloadOnly);

    /// <summary>Ask the running server and exit.</summary>
    public bool HealthCheck => Result.GetValue(_healthCheck);

    /// <summary>Print the version and exit.</summary>
    public bool WantsVersion => Result.GetResult("--version") is not null;

    /// <summary>Print the flags and exit.</summary>
    public bool WantsHelp => Result.Action is System.CommandLine.Help.HelpAction;

    /// <summary>What the process can do instead of serving.</summary>
    public IEnumerable<(string Name, string Description)> Commands =>
        _root.Options.Where(option => !option.Hidden && (option is Option<bool> || option == _planCapacity)).Select(option => (option.Name, option.Description ?? ""));

    /// <summary>Reads the arguments of the process.</summary>
    public static CommandLine Parse(IReadOnlyList<string> args) => new(args);

    /// <summary>Writes the flags.</summary>
    public void WriteHelp(TextWriter output) => Result.Invoke(new InvocationConfiguration { Output = output, Error = output });

    private void BuildOptions()
    {
        _root.Arguments.Add(_model);
        foreach (Flag flag in ServerFlags.All)
        {
            Option option = flag.Kind switch
            {
                FlagKind.Switch => new Option<string>(flag.Name) { Arity = ArgumentArity.ZeroOrOne },
                FlagKind.Refused => new Option<string[]>(flag.Name) { Arity = ArgumentArity.ZeroOrMore, Hidden = true },
                FlagKind.Many => new Option<string[]>(flag.Name) { Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = true },
                _ => new Option<string>(flag.Name) { Arity = ArgumentArity.ExactlyOne },
            };
            option.Description = flag.Help;
            option.HelpName = flag.Kind == FlagKind.Switch ? "true|false" : "VALUE";
            _root.Options.Add(option);
            Option<bool>? negative = null;
            if (flag.Kind == FlagKind.Switch)
            {
                negative = new Option<bool>("--no-" + flag.Name[2..]) { Arity = ArgumentArity.Zero, Hidden = true };
                _root.Options.Add(negative);
            }

            _options.Add((flag, option, negative));
        }

        _root.Options.Add(_printConfig);
        _root.Options.Add(_dryRun);
        _root.Options.Add(_planCapacity);
        _root.Options.Add(_downloadOnly);
        _root.Options.Add(_healthCheck);
    }

    private void Take(Flag flag, OptionResult? yes, OptionResult? no)
    {
        if (flag.Kind == FlagKind.Refused)
        {
            if (yes is { Implicit: false })
                Problems.Add($"{flag.Name}: {flag.Help}");
            return;
        }

        if (yes is { Implicit: false } && no is { Implicit: false })
            Problems.Add($"{flag.Name} and --no-{flag.Name[2..]} exclude each other");
        if (no is { Implicit: false })
            _values[flag.Key] = "false";
        if (yes is not { Implicit: false })
            return;
        string[] tokens = [.. yes.Tokens.Select(token => token.Value)];
        if (flag.Kind == FlagKind.Many)
        {
            for (int i = 0; i < tokens.Length; i++)
                _values[string.Create(CultureInfo.InvariantCulture, $"{flag.Key}:{i}")] = tokens[i];
        }
        else if (tokens.Length == 1)
        {
            _values[flag.Key] = tokens[0];
        }
        else if (flag.Kind == FlagKind.Switch && tokens.Length == 0)
        {
            _values[flag.Key] = "true";
        }
        else
        {
            Problems.Add(tokens.Length == 0 ? $"{flag.Name} needs a value" : $"{flag.Name} is given {tokens.Length} times");
        }
    }

    private void TakeModel()
    {
        if (Result.GetResult(_model) is not { Tokens: [Token token, ..] } || token.Value.StartsWith("--", StringComparison.Ordinal))
            return;
        if (!_values.TryAdd("Models:0:Path", token.Value))
            Problems.Add($"two models are named, \"{_values["Models:0:Path"]}\" and \"{token.Value}\"; name one");
    }

    // The parser takes an unknown flag for the positional model, or leaves it over.
    private void ReportUnknown()
    {
        IEnumerable<string> loose = Result.UnmatchedTokens;
        if (Result.GetResult(_model) is { Tokens: [Token token, ..] } && token.Value.StartsWith("--", StringComparison.Ordinal))
            loose = loose.Prepend(token.Value);
        foreach (string text in loose)
        {
            string name = text.Split('=')[0];
            if (name.StartsWith('-'))
                Problems.Add($"{name} is not a flag{NearestName.Hint(name, _root.Options.Select(option => option.Name))}");
            else if (Problems.Count == 0)
                Problems.Add($"\"{(text.Length <= 64 ? text : text[..64] + "…")}\" belongs to no flag");
        }
    }

    // The parser's own sentence about a token or flag that already has ours.
    private bool IsReported(string complaint)
    {
        if (Result.UnmatchedTokens.Any(token => complaint.Contains($"'{token}'", StringComparison.Ordinal)))
            return true;
        return Problems.Exists(problem => complaint.Contains($"'{problem.Split(' ', ':')[0]}'", StringComparison.Ordinal));
    }

    private static string Dashes(string argument)
    {
        if (!argument.StartsWith("--", StringComparison.Ordinal))
            return argument;
        int equals = argument.IndexOf('=', StringComparison.Ordinal);
        return equals < 0 ? argument.Replace('_', '-') : argument[..equals].Replace('_', '-') + argument[equals..];
    }
}
