using InferenceService.Text.Tokenization.Algorithms;
using InferenceService.Text.Tokenization.Decoders;
using InferenceService.Text.Tokenization.Normalizers;
using InferenceService.Text.Tokenization.PostProcessors;
using InferenceService.Text.Tokenization.PreTokenizers;

namespace InferenceService.Text.Tokenization;

/// <summary>The stages of a pipeline, in the order a text goes through them, and the decoder for the way back.</summary>
internal sealed record TokenizerParts
{
    public required AddedVocabulary Added { get; init; }

    public INormalizer? Normalizer { get; init; }

    public IPreTokenizer? PreTokenizer { get; init; }

    public required IAlgorithm Algorithm { get; init; }

    public required IPostProcessor PostProcessor { get; init; }

    public required IDecoder Decoder { get; init; }

    public int? TokenToId(string token) => Added.IdOf(token) ?? Algorithm.Vocabulary.IdOf(token);
}
