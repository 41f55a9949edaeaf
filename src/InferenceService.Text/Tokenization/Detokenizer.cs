namespace InferenceService.Text.Tokenization;

/// <summary>Turns a stream of token ids into text, one id at a time. One per choice; not thread-safe.</summary>
/// <remarks>The concatenation of every <see cref="Append"/> and the final <see cref="Flush"/> equals
/// <see cref="Tokenizer.Decode"/> of all ids at once.</remarks>
public sealed class Detokenizer
{
    internal Detokenizer() { }

    /// <summary>Takes the next id and returns the text that became certain, often empty. Never half a character.</summary>
    public string Append(int id) => throw new NotImplementedException();

    /// <summary>Ends the stream: returns what was held back; incomplete bytes become U+FFFD, as in Decode.</summary>
    public string Flush() => throw new NotImplementedException();
}
