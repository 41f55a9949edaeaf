namespace InferenceService.Text.Templates;

/// <summary>The variables of one rendering. A name that was never set is undefined in the template; one set to <see cref="Value.None"/> is none.</summary>
/// <remarks>Not changed by rendering. Fill it before it is shared between threads.</remarks>
public sealed class TemplateContext
{
    private readonly Dictionary<string, Value> _variables = new(StringComparer.Ordinal);

    /// <summary>Clock and time zone of <c>strftime_now</c>. Default: the system's.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Sets a variable, replacing what the name held before, and returns this context.</summary>
    public TemplateContext Set(string name, Value value)
    {
        _variables[name] = value;
        return this;
    }

    internal Value? Find(string name) => _variables.GetValueOrDefault(name);
}
