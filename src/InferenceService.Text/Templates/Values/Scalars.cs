using System.Numerics;

namespace InferenceService.Text.Templates.Values;

internal sealed class NoneValue : Value
{
    public static readonly NoneValue Instance = new();

    private NoneValue()
    {
    }

    internal override string TypeName => "NoneType";

    internal override bool IsTrue => false;
}

internal sealed class BoolValue : Value
{
    public static readonly BoolValue True = new();
    public static readonly BoolValue False = new();

    private BoolValue()
    {
    }

    internal override string TypeName => "bool";

    internal override bool IsTrue => ReferenceEquals(this, True);

    public static BoolValue From(bool truth) => truth ? True : False;
}

/// <summary>An integer of any size up to <see cref="MaxBits"/>, so that numbers of a tool schema come out digit for digit.</summary>
internal sealed class IntValue(BigInteger number) : Value
{
    public const int MaxBits = 4096;

    public static readonly IntValue Zero = new(0);

    public BigInteger Number { get; } = number.GetBitLength() <= MaxBits
        ? number
        : throw new TemplateException($"an integer is larger than {MaxBits} bits");

    internal override string TypeName => "int";

    internal override bool IsTrue => !Number.IsZero;
}

internal sealed class FloatValue(double number) : Value
{
    public double Number { get; } = number;

    internal override string TypeName => "float";

    internal override bool IsTrue => Number != 0;
}

/// <summary>The value of a name, attribute or item that does not exist. It prints as nothing; nearly everything else raises <see cref="Error"/>.</summary>
/// <param name="message">What to say when it is used.</param>
internal sealed class UndefinedValue(string message) : Value
{
    public string Message { get; } = message;

    internal override string TypeName => "Undefined";

    internal override bool IsTrue => false;

    public static UndefinedValue OfName(string name) => new($"'{name}' is undefined");

    public TemplateException Error() => new(Message);
}
