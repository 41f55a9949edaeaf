using System.Text;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "BPEDecoder": the end-of-word suffix becomes a space, except in the last token, where it goes away.</summary>
internal sealed class BpeDecoder(JsonPart part) : IDecoder
{
    private readonly byte[] _suffix = Encoding.UTF8.GetBytes(part.String("suffix", "</w>"));

    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next, _suffix, raw);

    private sealed class Stage(IDecoderStage next, byte[] suffix, bool raw) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();
        private readonly ByteBuffer _held = new();
        private bool _holding;

        public void Write(ReadOnlySpan<byte> utf8) => _token.Write(utf8);

        /// <summary>Whether this token is the last one shows only later, so from its first suffix on it waits for the next token.</summary>
        public void EndToken()
        {
            Release(last: false);
            int at = suffix.Length == 0 ? -1 : _token.Span.IndexOf(suffix);
            next.Write(at < 0 ? _token.Span : _token.Span[..at]);
            if (at >= 0)
                _held.Write(_token.Span[at..]);
            _token.Clear();
            _holding = true;
        }

        public void End()
        {
            Release(last: !raw);
            next.End();
        }

        private void Release(bool last)
        {
            if (!_holding)
                return;
            ReadOnlySpan<byte> rest = _held.Span;
            for (int at = rest.IsEmpty ? -1 : rest.IndexOf(suffix); at >= 0; at = rest.IndexOf(suffix))
            {
                next.Write(rest[..at]);
                if (!last)
                    next.Write(" "u8);
                rest = rest[(at + suffix.Length)..];
            }

            next.Write(rest);
            next.EndToken();
            _held.Clear();
            _holding = false;
        }
    }
}
