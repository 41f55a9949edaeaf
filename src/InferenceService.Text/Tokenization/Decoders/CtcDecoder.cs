using System.Text;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "CTC": repeated tokens count once, the pad token disappears, the word delimiter becomes a space.</summary>
internal sealed class CtcDecoder(JsonPart part) : IDecoder
{
    private readonly string _pad = part.String("pad_token", "<pad>");
    private readonly string _delimiter = part.String("word_delimiter_token", "|");
    private readonly bool _cleanup = part.Bool("cleanup", true);

    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next, this, raw);

    private string Rewrite(string token)
    {
        if (_pad.Length > 0)
            token = token.Replace(_pad, "", StringComparison.Ordinal);
        if (!_cleanup)
            return token;
        token = WordPieceDecoder.Clean(token);
        return _delimiter.Length > 0 ? token.Replace(_delimiter, " ", StringComparison.Ordinal) : token;
    }

    private sealed class Stage(IDecoderStage next, CtcDecoder settings, bool raw) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();
        private string? _previous;

        public void Write(ReadOnlySpan<byte> utf8) => _token.Write(utf8);

        public void EndToken()
        {
            string token = Encoding.UTF8.GetString(_token.Span);
            _token.Clear();
            if (!raw && token == _previous)
                return;
            _previous = token;
            string rewritten = settings.Rewrite(token);
            if (rewritten.Length == 0)
                return;
            next.Write(Encoding.UTF8.GetBytes(rewritten));
            next.EndToken();
        }

        public void End() => next.End();
    }
}
