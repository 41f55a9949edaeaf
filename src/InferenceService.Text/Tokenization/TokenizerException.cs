namespace InferenceService.Text.Tokenization;

/// <summary>A tokenizer file cannot be used. The message is one line and names the field at fault.</summary>
public sealed class TokenizerException : Exception
{
    public TokenizerException(string message) : base(message) { }

    public TokenizerException(string message, Exception inner) : base(message, inner) { }
}
