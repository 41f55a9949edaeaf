namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "Fuse": all tokens become one.</summary>
internal sealed class Fuse : IDecoder
{
    public IDecoderStage NewStage(IDecoderStage next, bool raw) => new Stage(next, raw);

    private sealed class Stage(IDecoderStage next, bool raw) : IDecoderStage
    {
        public void Write(ReadOnlySpan<byte> utf8) => next.Write(utf8);

        public void EndToken()
        {
        }

        public void End()
        {
            if (!raw)
                next.EndToken();
            next.End();
        }
    }
}
