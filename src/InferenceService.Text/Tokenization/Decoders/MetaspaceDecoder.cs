using System.Text;
using InferenceService.Text.Tokenization.PreTokenizers;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "Metaspace": the visible character becomes a space again; in the first token it only goes away, unless none was
/// put there.</summary>
internal sealed class MetaspaceDecoder(JsonPart part) : IDecoder
{
    private readonly Metaspace _settings = Metaspace.Read(part);

    public IDecoderStage NewStage(IDecoderStage next, bool raw) =>
        new Stage(next, Encoding.UTF8.GetBytes(_settings.Replacement), stripFirst: _settings.Scheme != PrependScheme.Never);

    private sealed class Stage(IDecoderStage next, byte[] replacement, bool stripFirst) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();
        private bool _first = stripFirst;

        public void Write(ReadOnlySpan<byte> utf8) => _token.Write(utf8);

        public void EndToken()
        {
            ReadOnlySpan<byte> rest = _token.Span;
            for (int at = rest.IndexOf(replacement); at >= 0; at = rest.IndexOf(replacement))
            {
                next.Write(rest[..at]);
                if (!_first)
                    next.Write(" "u8);
                rest = rest[(at + replacement.Length)..];
            }

            next.Write(rest);
            next.EndToken();
            _token.Clear();
            _first = false;
        }

        public void End() => next.End();
    }
}
