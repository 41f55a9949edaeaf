namespace InferenceService.Compute;

/// <summary>Tensors whose shapes, types or strides do not fit an operation. Always a programming error, never user input.</summary>
public sealed class ShapeException : Exception
{
    /// <summary>Creates the exception.</summary>
    public ShapeException(string message) : base(message) { }

    /// <summary>Creates the exception.</summary>
    public ShapeException() { }

    /// <summary>Creates the exception.</summary>
    public ShapeException(string message, Exception innerException) : base(message, innerException) { }
}
