using System.Text;
using InferenceService.Text.Tokenization.Normalizers;
using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "Replace": every match inside a token becomes a fixed string.</summary>
internal sealed class ReplaceDecoder(JsonPart part) : IDecoder
{
    private readonly Pattern _pattern = Pattern.Read(part.Required("pattern"));
    private readonly string _content = Replace.ReadContent(part);

    public IDecoderStage NewStage(IDecoderStage next, bool raw) => _pattern.LiteralText is { } literal
        ? new LiteralStage(next, Encoding.UTF8.GetBytes(literal), Encoding.UTF8.GetBytes(_content))
        : new PatternStage(next, _pattern, _content);

    /// <summary>Works on parts of a token as they come: only the beginning of a possible match is held back.</summary>
    private sealed class LiteralStage(IDecoderStage next, byte[] literal, byte[] content) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();

        public void Write(ReadOnlySpan<byte> utf8)
        {
            _token.Write(utf8);
            ReadOnlySpan<byte> rest = _token.Span;
            for (int at = rest.IndexOf(literal); at >= 0; at = rest.IndexOf(literal))
            {
                next.Write(rest[..at]);
                next.Write(content);
                rest = rest[(at + literal.Length)..];
            }

            int held = Math.Min(literal.Length - 1, rest.Length);
            while (held > 0 && !rest.EndsWith(literal.AsSpan(0, held)))
                held--;
            next.Write(rest[..^held]);
            _token.Drop(_token.Length - held);
        }

        public void EndToken()
        {
            Release();
            next.EndToken();
        }

        public void End()
        {
            Release();
            next.End();
        }

        private void Release()
        {
            next.Write(_token.Span);
            _token.Clear();
        }
    }

    /// <summary>A regular expression may look at all of the token, so it waits for the token's end.</summary>
    private sealed class PatternStage(IDecoderStage next, Pattern pattern, string content) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();

        public void Write(ReadOnlySpan<byte> utf8) => _token.Write(utf8);

        public void EndToken()
        {
            Release();
            next.EndToken();
        }

        public void End()
        {
            Release();
            next.End();
        }

        private void Release()
        {
            if (_token.Length > 0)
                next.Write(Encoding.UTF8.GetBytes(Replace.Apply(pattern, content, Encoding.UTF8.GetString(_token.Span))));
            _token.Clear();
        }
    }
}
