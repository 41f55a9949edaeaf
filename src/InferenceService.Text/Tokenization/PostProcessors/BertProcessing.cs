namespace InferenceService.Text.Tokenization.PostProcessors;

/// <summary>Types "BertProcessing" and "RobertaProcessing", which differ in offsets and pairs only: cls before, sep after.</summary>
internal sealed class BertProcessing(JsonPart part) : IPostProcessor
{
    public IReadOnlyList<int> Before { get; } = [TokenId(part.Required("cls"))];

    public IReadOnlyList<int> After { get; } = [TokenId(part.Required("sep"))];

    /// <summary>["[CLS]", 101]</summary>
    private static int TokenId(JsonPart pair) => pair.Count == 2
        ? PostProcessorReader.Id(new JsonPart(pair.Element[1], pair.Path))
        : throw pair.Error("must be [token, id]");
}
