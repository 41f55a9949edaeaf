namespace InferenceService.Text.Tokenization.PostProcessors;

/// <summary>The special tokens that go around a text. (What post-processors do to pairs and offsets has no use in a server.)</summary>
internal interface IPostProcessor
{
    IReadOnlyList<int> Before { get; }

    IReadOnlyList<int> After { get; }
}
