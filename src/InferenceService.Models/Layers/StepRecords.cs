using InferenceService.Compute;

namespace InferenceService.Models.Layers;

/// <summary>Steps that come again and again, recorded on the backend: one a shape, taken as it is the first time and recorded the second.</summary>
/// <remarks>
/// A step's operations follow from its <see cref="LayerStep"/> alone, which so is the key: sizes, addresses of what is uploaded between
/// replays, and which sums are wanted. Tables that moved to a larger buffer make new keys; the old recordings go when there are too many.
/// </remarks>
/// <param name="backend">Where steps are recorded.</param>
/// <param name="operations">Calls the operations of a step; none of them copies between host and device.</param>
internal sealed class StepRecords(IBackend backend, Action<LayerStep> operations)
{
    private const int Most = 128;

    private readonly Dictionary<LayerStep, RecordedStep?> _steps = []; // null: taken once

    /// <summary>Takes a step.</summary>
    public void Run(LayerStep step)
    {
        if (!_steps.TryGetValue(step, out RecordedStep? recorded))
        {
            operations(step);
            if (_steps.Count >= Most)
                Forget();
            _steps.Add(step, null);
            return;
        }

        if (recorded is null)
            _steps[step] = recorded = Record(step);
        recorded.Replay();
    }

    // Apart, because a closure is allocated where its variables are declared.
    private RecordedStep Record(LayerStep step) => backend.Record(() => operations(step));

    private void Forget()
    {
        foreach (RecordedStep? recorded in _steps.Values)
            recorded?.Dispose();
        _steps.Clear();
    }
}
