using System.Text;
using InferenceService.Text.Tokenization.Decoders;

namespace InferenceService.Text.Tokenization;

/// <summary>Turns a stream of token ids into text, one id at a time, at a cost that does not depend on what came before. One per choice;
/// not thread-safe.</summary>
/// <remarks>The concatenation of every <see cref="Append"/> and the final <see cref="Flush"/> equals
/// <see cref="Tokenizer.Decode"/> of all ids at once.</remarks>
public sealed class Detokenizer
{
    /// <summary>So many tokens put every decoder in the middle of a text: it is more than the bytes of any character.</summary>
    private const int TailTokens = 8;

    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly ByteBuffer _text = new();
    private readonly IDecoderStage _stage;
    private bool _ended;

    internal Detokenizer(Tokenizer tokenizer, bool skipSpecialTokens, ReadOnlySpan<int> promptTail)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
        _stage = tokenizer.NewStage(_text);
        int start = promptTail.Length;
        for (int found = 0; start > 0 && found < TailTokens; start--)
        {
            if (tokenizer.Contributes(promptTail[start - 1], skipSpecialTokens))
                found++;
        }

        foreach (int id in promptTail[start..])
            tokenizer.Feed(_stage, id, skipSpecialTokens);
        _text.Clear();
    }

    /// <summary>Takes the next id and returns the text that became certain, often empty. Never half a character.</summary>
    /// <exception cref="InvalidOperationException">The stream was flushed.</exception>
    public string Append(int id)
    {
        if (_ended)
            throw new InvalidOperationException("the stream has been flushed");
        _tokenizer.Feed(_stage, id, _skipSpecialTokens);
        return Take();
    }

    /// <summary>Ends the stream: returns what was held back; incomplete bytes become U+FFFD, as in Decode.</summary>
    public string Flush()
    {
        if (_ended)
            return "";
        _ended = true;
        _stage.End();
        return Take();
    }

    private string Take()
    {
        if (_text.Length == 0)
            return "";
        string text = Encoding.UTF8.GetString(_text.Span);
        _text.Clear();
        return text;
    }
}
