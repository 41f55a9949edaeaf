namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Cuts the pieces of a text further, or rewrites them. Immutable, safe for concurrent use.</summary>
internal interface IPreTokenizer
{
    /// <summary>Replaces the pieces by what becomes of them.</summary>
    void Split(Pieces pieces);

    /// <summary>Whether every character of the text is in a piece, itself or as what stands for it.</summary>
    bool KeepsText => false;

    /// <summary>Whether pieces consist of the visible characters of bytes.</summary>
    bool MapsBytes => false;
}
