namespace InferenceService.Server.Tests;

internal sealed class AnnouncingWriter(string wanted) : StringWriter
{
    private readonly TaskCompletionSource _seen = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task Seen => _seen.Task;

    public override void WriteLine(string? value)
    {
        base.WriteLine(value);
        if (value?.Contains(wanted, StringComparison.Ordinal) == true)
            _seen.TrySetResult();
    }
}
