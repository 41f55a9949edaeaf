namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>When Metaspace puts its character before a piece.</summary>
internal enum PrependScheme
{
    Always,

    /// <summary>Only before the piece that begins the whole input.</summary>
    First,
    Never,
}
