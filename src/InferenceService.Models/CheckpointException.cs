namespace InferenceService.Models;

/// <summary>A checkpoint that cannot be served: unsupported, incomplete or damaged. The message is one line for the user.</summary>
public sealed class CheckpointException : Exception
{
    /// <summary>Creates the exception.</summary>
    public CheckpointException(string message) : base(message) { }

    /// <summary>Creates the exception.</summary>
    public CheckpointException() { }

    /// <summary>Creates the exception.</summary>
    public CheckpointException(string message, Exception innerException) : base(message, innerException) { }
}
