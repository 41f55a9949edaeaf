namespace InferenceService.Text.Tokenization.PostProcessors;

/// <summary>Type "TemplateProcessing": the "single" template, which holds the text (sequence A) once and special tokens around
/// it.</summary>
internal sealed class TemplateProcessing : IPostProcessor
{
    private readonly List<int> _before = [];
    private readonly List<int> _after = [];

    public TemplateProcessing(JsonPart part)
    {
        JsonPart specialTokens = part.Required("special_tokens");
        bool seen = false;
        foreach (JsonPart piece in part.Array("single"))
        {
            if (piece.Optional("SpecialToken") is { } special)
            {
                foreach (JsonPart id in specialTokens.Required(special.String("id")).Array("ids"))
                    (seen ? _after : _before).Add(PostProcessorReader.Id(id));
            }
            else if (seen || piece.Required("Sequence").String("id") != "A")
            {
                throw part.Error("must use sequence A exactly once in its single template");
            }
            else
            {
                seen = true;
            }
        }

        if (!seen)
            throw part.Error("must use sequence A exactly once in its single template");
    }

    public IReadOnlyList<int> Before => _before;

    public IReadOnlyList<int> After => _after;
}
