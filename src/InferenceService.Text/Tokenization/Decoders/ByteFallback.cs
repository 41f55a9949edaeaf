using System.Buffers;
using System.Globalization;
using System.Text;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "ByteFallback": tokens such as &lt;0x61&gt; are bytes, and neighbouring bytes are characters.</summary>
/// <remarks>Deviation: Hugging Face replaces every byte of a run by U+FFFD as soon as one of them is damaged, which cannot be known before
/// the run ends. Here the whole characters of a damaged run survive and only its other bytes become U+FFFD, one each, so a line
/// feed that comes as &lt;0x0A&gt; is text at once.</remarks>
internal sealed class ByteFallback : IDecoder
{
    private const int TokenLength = 6;

    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next, raw);

    private sealed class Stage(IDecoderStage next, bool raw) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();
        private readonly ByteBuffer _bytes = new();
        private bool _inRun;

        public void Write(ReadOnlySpan<byte> utf8) => _token.Write(utf8);

        public void EndToken()
        {
            if (TryByte(_token.Span, out byte value))
            {
                _inRun = true;
                _bytes.Write([value]);
                if (raw)
                    EndRun();
                else
                    Emit(final: false);
            }
            else
            {
                EndRun();
                next.Write(_token.Span);
                next.EndToken();
            }

            _token.Clear();
        }

        public void End()
        {
            EndRun();
            next.End();
        }

        private static bool TryByte(ReadOnlySpan<byte> token, out byte value)
        {
            value = 0;
            return token.Length == TokenLength && token.StartsWith("<0x"u8) && token[^1] == '>'
                && byte.TryParse(token[3..5], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
        }

        private void EndRun()
        {
            if (!_inRun)
                return;
            if (raw)
                next.Write(_bytes.Span);
            else
                Emit(final: true);
            _bytes.Clear();
            _inRun = false;
            next.EndToken();
        }

        private void Emit(bool final)
        {
            ReadOnlySpan<byte> rest = _bytes.Span;
            while (!rest.IsEmpty)
            {
                int valid = Utf8Prefix.Length(rest);
                if (valid > 0)
                    next.Write(rest[..valid]);
                rest = rest[valid..];
                if (rest.IsEmpty)
                    break;
                if (Rune.DecodeFromUtf8(rest, out _, out int damaged) == OperationStatus.NeedMoreData && !final)
                    break;
                for (int i = 0; i < damaged; i++)
                    next.Write("\uFFFD"u8);
                rest = rest[damaged..];
            }

            _bytes.Drop(_bytes.Length - rest.Length);
        }
    }
}
