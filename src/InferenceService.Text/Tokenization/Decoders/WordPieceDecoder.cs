using System.Text;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "WordPiece": continuing tokens lose their prefix, others get a space in front; optionally English artefacts are
/// cleaned.</summary>
internal sealed class WordPieceDecoder(JsonPart part) : IDecoder
{
    private readonly byte[] _prefix = Encoding.UTF8.GetBytes(part.String("prefix", "##"));
    private readonly bool _cleanup = part.Bool("cleanup", true);

    /// <summary>Token by token, so only what shows inside one token: " ." to ".", " n't" to "n't" and the like.</summary>
    public static string Clean(string text) => text
        .Replace(" .", ".", StringComparison.Ordinal)
        .Replace(" ?", "?", StringComparison.Ordinal)
        .Replace(" !", "!", StringComparison.Ordinal)
        .Replace(" ,", ",", StringComparison.Ordinal)
        .Replace(" ' ", "'", StringComparison.Ordinal)
        .Replace(" n't", "n't", StringComparison.Ordinal)
        .Replace(" 'm", "'m", StringComparison.Ordinal)
        .Replace(" do not", " don't", StringComparison.Ordinal)
        .Replace(" 's", "'s", StringComparison.Ordinal)
        .Replace(" 've", "'ve", StringComparison.Ordinal)
        .Replace(" 're", "'re", StringComparison.Ordinal);

    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next, _prefix, _cleanup);

    private sealed class Stage(IDecoderStage next, byte[] prefix, bool cleanup) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();
        private readonly ByteBuffer _spaced = new();
        private bool _first = true;

        public void Write(ReadOnlySpan<byte> utf8) => _token.Write(utf8);

        public void EndToken()
        {
            ReadOnlySpan<byte> token = _token.Span;
            if (!_first && token.StartsWith(prefix))
            {
                token = token[prefix.Length..];
            }
            else if (!_first)
            {
                _spaced.Clear();
                _spaced.Write(" "u8);
                _spaced.Write(token);
                token = _spaced.Span;
            }

            if (cleanup && token.Contains((byte)' '))
                next.Write(Encoding.UTF8.GetBytes(Clean(Encoding.UTF8.GetString(token))));
            else
                next.Write(token);
            next.EndToken();
            _token.Clear();
            _first = false;
        }

        public void End() => next.End();
    }
}
