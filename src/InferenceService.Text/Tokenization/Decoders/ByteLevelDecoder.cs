using System.Buffers;
using System.Text;
using InferenceService.Text.Tokenization.PreTokenizers;

namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "ByteLevel": visible characters back to bytes, and the bytes of all tokens together to text. A token with any other
/// character stands for itself. What is not UTF-8 becomes U+FFFD, one for each maximal part of a character.</summary>
internal sealed class ByteLevelDecoder : IDecoder
{
    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next, raw);

    private sealed class Stage(IDecoderStage next, bool raw) : IDecoderStage
    {
        private readonly ByteBuffer _token = new();
        private readonly ByteBuffer _bytes = new();

        public void Write(ReadOnlySpan<byte> utf8) => _token.Write(utf8);

        public void EndToken()
        {
            AppendBytes(_token.Span);
            _token.Clear();
            if (raw)
            {
                next.Write(_bytes.Span);
                _bytes.Clear();
            }
            else
            {
                Emit(final: false);
            }
        }

        public void End()
        {
            Emit(final: true);
            if (!raw)
                next.EndToken();
            next.End();
        }

        private void AppendBytes(ReadOnlySpan<byte> token)
        {
            int before = _bytes.Length;
            Span<byte> one = stackalloc byte[1];
            for (ReadOnlySpan<byte> rest = token; !rest.IsEmpty;)
            {
                Rune.DecodeFromUtf8(rest, out Rune rune, out int length);
                int value = rune.IsBmp ? ByteAlphabet.Byte((char)rune.Value) : -1;
                if (value < 0)
                {
                    _bytes.Truncate(before);
                    _bytes.Write(token);
                    return;
                }

                one[0] = (byte)value;
                _bytes.Write(one);
                rest = rest[length..];
            }
        }

        /// <summary>Hands on every whole character; the beginning of one is kept until it is complete or shown to be damaged.</summary>
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
                next.Write("\uFFFD"u8);
                rest = rest[damaged..];
            }

            _bytes.Drop(_bytes.Length - rest.Length);
        }
    }
}
