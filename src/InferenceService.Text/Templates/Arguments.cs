using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates;

/// <summary>The evaluated arguments of one call.</summary>
internal sealed record Arguments(Value[] Positional, KeyValuePair<string, Value>[] Named)
{
    public static readonly Arguments None = new([], []);

    public Value? Find(string name)
    {
        foreach ((string key, Value value) in Named)
        {
            if (key == name)
                return value;
        }
        return null;
    }

    /// <summary>Sorts the arguments to the parameters of a built-in function; a parameter that was not given is null.</summary>
    /// <param name="function">Name for messages.</param>
    /// <param name="required">How many of the first parameters must be given.</param>
    /// <param name="parameters">Names, in order.</param>
    /// <exception cref="TemplateException">Too many, unknown, doubled or missing arguments.</exception>
    public Value?[] Bind(string function, int required, params string[] parameters)
    {
        if (Positional.Length > parameters.Length)
        {
            string most = parameters.Length == 0 ? "no arguments" : $"at most {parameters.Length} arguments";
            throw new TemplateException($"{function}() takes {most} ({Positional.Length} given)");
        }
        Value?[] bound = new Value?[parameters.Length];
        Positional.CopyTo(bound, 0);
        foreach ((string name, Value value) in Named)
        {
            int index = Array.IndexOf(parameters, name);
            if (index < 0)
                throw new TemplateException($"{function}() got an unexpected keyword argument {PythonText.Quote(name)}");
            if (bound[index] is not null)
                throw new TemplateException($"{function}() got multiple values for argument '{name}'");
            bound[index] = value;
        }
        for (int i = 0; i < required; i++)
        {
            if (bound[i] is null)
                throw new TemplateException($"{function}() missing a required argument: '{parameters[i]}'");
        }
        return bound;
    }
}
