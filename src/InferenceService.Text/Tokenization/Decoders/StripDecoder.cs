using System.Text;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "Strip": up to so many of one character off the start and the end of each token (after Fuse: of the text).</summary>
internal sealed class StripDecoder : IDecoder
{
    private const int MaxCount = 1000;

    private readonly byte[] _content;
    private readonly int _start;
    private readonly int _stop;

    public StripDecoder(JsonPart part)
    {
        _content = Encoding.UTF8.GetBytes(part.Required("content").Character());
        _start = part.Int("start", 0, MaxCount);
        _stop = part.Int("stop", 0, MaxCount);
    }

    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next, _content, _start, _stop);

    private sealed class Stage(IDecoderStage next, byte[] content, int start, int stop) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();
        private bool _begun;
        private int _toStrip;

        public void Write(ReadOnlySpan<byte> utf8)
        {
            if (!_begun)
                _toStrip = start;
            _begun = true;
            _token.Write(utf8);
            Emit();
        }

        public void EndToken()
        {
            // What is still held is the end of the token: at most so many of the character.
            ReadOnlySpan<byte> rest = _token.Span;
            for (int i = 0; i < stop && rest.EndsWith(content); i++)
                rest = rest[..^content.Length];
            next.Write(rest);
            _token.Clear();
            _begun = false;
            next.EndToken();
        }

        public void End()
        {
            next.Write(_token.Span);
            _token.Clear();
            next.End();
        }

        private void Emit()
        {
            ReadOnlySpan<byte> rest = _token.Span;
            while (_toStrip > 0 && rest.StartsWith(content))
            {
                rest = rest[content.Length..];
                _toStrip--;
            }

            if (rest.IsEmpty)
            {
                _token.Clear();
                return;
            }

            _toStrip = 0;
            int held = 0;
            for (int i = 0; i < stop && rest[..^held].EndsWith(content); i++)
                held += content.Length;
            next.Write(rest[..^held]);
            _token.Drop(_token.Length - held);
        }
    }
}
