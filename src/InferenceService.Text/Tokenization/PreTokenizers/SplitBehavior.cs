namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>What becomes of the delimiters. For "the-final--countdown" split at "-":</summary>
internal enum SplitBehavior
{
    /// <summary>the | final | countdown</summary>
    Removed,

    /// <summary>the | - | final | - | - | countdown</summary>
    Isolated,

    /// <summary>the- | final- | - | countdown</summary>
    MergedWithPrevious,

    /// <summary>the | -final | - | -countdown</summary>
    MergedWithNext,

    /// <summary>the | - | final | -- | countdown</summary>
    Contiguous,
}
