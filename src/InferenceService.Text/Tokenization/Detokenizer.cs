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

    /// <summary>U+FFFD at the beginning of the stream that would be the prompt's: bytes that the stream did not complete.</summary>
    private int _foreign;

    private static ReadOnlySpan<byte> Replacement => "\uFFFD"u8;

    internal Detokenizer(Tokenizer tokenizer, bool skipSpecialTokens, ReadOnlySpan<int> promptTail, bool keepsRest)
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

        promptTail = promptTail[start..];
        if (!keepsRest && !promptTail.IsEmpty)
            _foreign = Rest(promptTail);
        foreach (int id in promptTail)
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

    /// <summary>How many U+FFFD the tail would end with, were it the whole text.</summary>
    private int Rest(ReadOnlySpan<int> tail)
    {
        IDecoderStage stage = _tokenizer.NewStage(_text);
        foreach (int id in tail)
            _tokenizer.Feed(stage, id, _skipSpecialTokens);
        _text.Clear();
        stage.End();
        int count = _text.Length / Replacement.Length;
        for (ReadOnlySpan<byte> rest = _text.Span; !rest.IsEmpty; rest = rest[Replacement.Length..])
        {
            if (!rest.StartsWith(Replacement))
            {
                count = 0;
                break;
            }
        }

        _text.Clear();
        return count;
    }

    private string Take()
    {
        if (_text.Length == 0)
            return "";
        ReadOnlySpan<byte> bytes = _text.Span;
        for (; _foreign > 0 && bytes.StartsWith(Replacement); _foreign--)
            bytes = bytes[Replacement.Length..];
        _foreign = 0;
        string text = Encoding.UTF8.GetString(bytes);
        _text.Clear();
        return text;
    }
}
