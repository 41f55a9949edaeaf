using InferenceService.Compute;

namespace InferenceService.Models.Layers;

/// <summary>What every layer of one step shares.</summary>
/// <param name="Rows">Rows of the step.</param>
/// <param name="Kv">The cache before the step.</param>
/// <param name="CosSin">f32 [rows, rotaryDim]: rotation of each row.</param>
/// <param name="SinkCosSin">The same for the queries that meet sinks; null where no sequence has sinks and a window.</param>
/// <param name="Probe">Sums over attention rows to accumulate; each layer sets its own first row.</param>
internal readonly record struct LayerStep(int Rows, KvBatch Kv, Tensor CosSin, Tensor? SinkCosSin, AttentionProbe Probe);
