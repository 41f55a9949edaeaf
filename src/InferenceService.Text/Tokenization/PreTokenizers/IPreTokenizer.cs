namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Cuts the pieces of a text further, or rewrites them. Immutable, safe for concurrent use.</summary>
internal interface IPreTokenizer
{
    /// <summary>Replaces the pieces by what becomes of them.</summary>
    void Split(Pieces pieces);
}
