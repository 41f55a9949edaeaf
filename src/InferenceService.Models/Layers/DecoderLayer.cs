using InferenceService.Compute;

namespace InferenceService.Models.Layers;

/// <summary>One decoder layer: norm, attention, norm, MLP.</summary>
/// <param name="InputNorm">f32 [1, hidden].</param>
/// <param name="Attention">Attention of the layer.</param>
/// <param name="PostAttentionNorm">f32 [1, hidden].</param>
/// <param name="Mlp">MLP of the layer.</param>
/// <param name="Lanes">Where its K and V lie.</param>
internal sealed record DecoderLayer(Tensor InputNorm, Attention Attention, Tensor PostAttentionNorm, GatedMlp Mlp, CacheLanes Lanes);
