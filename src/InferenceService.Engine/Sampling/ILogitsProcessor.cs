namespace InferenceService.Engine.Sampling;

/// <summary>One step between raw logits and temperature. Masks by −∞.</summary>
internal interface ILogitsProcessor
{
    /// <summary>Does this sequence ask for it now? False costs nothing.</summary>
    bool Applies(Sequence sequence);

    /// <summary>Changes a row in place.</summary>
    /// <param name="sequence">Whose row it is.</param>
    /// <param name="logits">[vocabulary].</param>
    void Apply(Sequence sequence, Span<float> logits);
}
