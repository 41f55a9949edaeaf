namespace InferenceService.Text.Tokenization.PostProcessors;

/// <summary>The "type" switch of <c>post_processor</c>.</summary>
internal static class PostProcessorReader
{
    /// <exception cref="TokenizerException">An unknown type, or a damaged field.</exception>
    public static IPostProcessor Read(JsonPart part)
    {
        string type = part.String("type");
        return type switch
        {
            "BertProcessing" or "RobertaProcessing" => new BertProcessing(part),
            "ByteLevel" => Affixes.None,
            "Sequence" => new PostProcessorSequence(part),
            "TemplateProcessing" => new TemplateProcessing(part),
            _ => throw part.Error($"has the unknown type {JsonPart.Quote(type)}"),
        };
    }

    public static int Id(JsonPart part) => part.Int(0, Algorithms.Vocabulary.MaxId);
}
