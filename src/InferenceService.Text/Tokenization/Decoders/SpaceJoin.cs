namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>What happens without a decoder: tokens with a space between them.</summary>
internal sealed class SpaceJoin : IDecoder
{
    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next);

    private sealed class Stage(IDecoderStage next) : IDecoderStage
    {
        private bool _later;
        private bool _inToken;

        public void Write(ReadOnlySpan<byte> utf8)
        {
            Begin();
            next.Write(utf8);
        }

        public void EndToken()
        {
            Begin();
            _inToken = false;
            next.EndToken();
        }

        public void End() => next.End();

        private void Begin()
        {
            if (!_inToken && _later)
                next.Write(" "u8);
            _inToken = _later = true;
        }
    }
}
