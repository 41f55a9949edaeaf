namespace InferenceService.Text.Tokenization.PostProcessors;

/// <summary>Type "Sequence": each one goes around the result of the one before.</summary>
internal sealed class PostProcessorSequence : IPostProcessor
{
    private readonly List<int> _before = [];
    private readonly List<int> _after = [];

    public PostProcessorSequence(JsonPart part)
    {
        foreach (JsonPart item in part.Array("processors"))
        {
            IPostProcessor processor = PostProcessorReader.Read(item);
            _before.InsertRange(0, processor.Before);
            _after.AddRange(processor.After);
        }
    }

    public IReadOnlyList<int> Before => _before;

    public IReadOnlyList<int> After => _after;
}
