using InferenceService.Engine;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Generation;

/// <summary>One choice on its way from ids to text: what is ready to be sent, and how it ended. One reader, no locks.</summary>
internal sealed class ChoiceText
{
    private readonly TextOptions _options;
    private readonly Detokenizer _detokenizer;
    private readonly StopSequences.Scanner? _scanner;
    private readonly List<TokenEntry> _tokens = [];
    private int _codePoints;

    /// <param name="index">Index in the response.</param>
    /// <param name="prompt">Prompt it continues.</param>
    /// <param name="number">Its number among the choices of that prompt.</param>
    public ChoiceText(int index, int prompt, int number, TextOptions options, Detokenizer detokenizer)
    {
        (Index, Prompt, Number, _options, _detokenizer) = (index, prompt, number, options, detokenizer);
        _scanner = options.Stops.IsEmpty ? null : options.Stops.NewScanner();
    }

    /// <summary>Index in the response; changes only when the best of several are picked at the end.</summary>
    public int Index { get; set; }

    public int Prompt { get; }
    public int Number { get; }

    /// <summary>Text that is certain and not yet sent.</summary>
    public TextBuffer Text { get; } = new();

    /// <summary>Tokens not yet sent, when the request wants them.</summary>
    public IReadOnlyList<TokenEntry> Tokens => _tokens;

    /// <summary>Tokens generated since the last <see cref="MarkSent"/>.</summary>
    public int Unsent { get; private set; }

    /// <summary>Tokens generated, the one that ended the choice included.</summary>
    public int Generated { get; private set; }

    /// <summary>Sum of the chosen tokens' log-probabilities, as far as known.</summary>
    public double LogprobSum { get; private set; }

    /// <summary>Monotonic time of the last token; 0 before the first.</summary>
    public long LastToken { get; set; }

    /// <summary><c>stop</c> or <c>length</c> once the choice has ended.</summary>
    public string? FinishReason { get; private set; }

    /// <summary>The stop string that ended it.</summary>
    public string? StopString => _scanner?.Found;

    /// <summary>The stop id that ended it.</summary>
    public int? StopToken { get; private set; }

    /// <summary>Puts the prompt before the answer (echo); before the first token only.</summary>
    public void Echo(string text, IEnumerable<TokenEntry> tokens)
    {
        Text.Append(text);
        if (_options.KeepTokens)
            _tokens.AddRange(tokens);
        _codePoints += CodePoints.Count(text);
    }

    /// <summary>Takes the choice's next event, which ends it, adds a token, or both.</summary>
    /// <returns>True when a stop string was found: the engine need not go on with this choice.</returns>
    public bool Apply(in GeneratedToken token)
    {
        bool found = false;
        if (token.TokenId >= 0)
        {
            Generated++;
            Unsent++;
            LogprobSum += token.Logprobs?.Logprob ?? 0;
            if (_options.KeepTokens)
                _tokens.Add(new TokenEntry(token.TokenId, token.Logprobs, _codePoints, IsPrompt: false));
            if (token.Finish is not (Engine.FinishReason.Eos or Engine.FinishReason.StopToken) || _options.IncludeStop)
                found = Push(_detokenizer.Append(token.TokenId));
        }

        if (!found && token.Finish != Engine.FinishReason.None)
            End(token);
        return found;
    }

    /// <summary>Everything ready has been sent.</summary>
    public void MarkSent()
    {
        Text.Clear();
        _tokens.Clear();
        Unsent = 0;
    }

    private void End(in GeneratedToken token)
    {
        // A stop string may be completed by what the detokenizer still held back.
        if (Push(_detokenizer.Flush()))
            return;
        _scanner?.Flush(Text);
        FinishReason = token.Finish == Engine.FinishReason.Length ? "length" : "stop";
        if (token.Finish == Engine.FinishReason.StopToken)
            StopToken = token.TokenId;
    }

    private bool Push(string text)
    {
        _codePoints += CodePoints.Count(text);
        if (_scanner is null || Generated <= _options.MinTokens)
        {
            Text.Append(text);
            return false;
        }

        if (!_scanner.Push(text, _options.IncludeStop, Text))
            return false;
        FinishReason = "stop";
        return true;
    }
}
