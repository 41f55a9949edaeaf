using System.Runtime.CompilerServices;

namespace InferenceService.Text.Templates;

/// <summary>What one rendering has left of its <see cref="TemplateLimits"/>. Every operation whose cost can grow asks here first.</summary>
internal sealed class Budget(TemplateLimits limits)
{
    /// <summary>Characters that a string operation may touch for one step.</summary>
    private const int CharsPerStep = 16;

    private long _steps = limits.MaxSteps;
    private int _open;

    /// <summary>Counts work: nodes evaluated, items visited.</summary>
    public void Spend(long steps = 1)
    {
        if ((_steps -= steps) < 0)
            throw new TemplateException($"the template needs more than {limits.MaxSteps} steps");
    }

    /// <summary>Counts characters read or copied.</summary>
    public void SpendChars(long chars) => Spend(chars / CharsPerStep);

    /// <summary>Counts a list that is about to be made. Asked before the memory is.</summary>
    public void MakeItems(long items) => Spend(items);

    /// <summary>Checks and counts a string that is about to be made. Asked before the memory is.</summary>
    public void MakeChars(long chars)
    {
        CheckChars(chars);
        SpendChars(chars);
    }

    /// <summary>Checks the length of a text that grows.</summary>
    public void CheckChars(long chars)
    {
        if (chars > limits.MaxOutputChars)
            throw new TemplateException($"a string is longer than {limits.MaxOutputChars} characters");
    }

    /// <summary>Counts a search, whose worst case is the product of both lengths.</summary>
    public void SpendSearch(long haystack, long needle) => Spend(haystack / CharsPerStep + haystack * Math.Min(needle, 1 << 30) / 1024);

    /// <summary>A macro, call block or recursive loop begins.</summary>
    public void Enter()
    {
        if (++_open > limits.MaxRecursion)
            throw new TemplateException($"macros and recursive loops are nested more than {limits.MaxRecursion} deep");
        EnsureStack();
    }

    /// <summary>It ends. Not called when an exception passes: that ends the rendering.</summary>
    public void Leave() => _open--;

    /// <summary>Turns a stack that is about to overflow into an error.</summary>
    public static void EnsureStack()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new TemplateException("values, expressions or calls are nested too deep");
    }
}
