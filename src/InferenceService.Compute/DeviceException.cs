namespace InferenceService.Compute;

/// <summary>A device did not do what it was asked to. Memory that the host refuses is an <see cref="OutOfMemoryException"/> instead.</summary>
public class DeviceException : Exception
{
    /// <summary>Creates the exception.</summary>
    public DeviceException(string message) : base(message) { }

    /// <summary>Creates the exception.</summary>
    public DeviceException() { }

    /// <summary>Creates the exception.</summary>
    public DeviceException(string message, Exception innerException) : base(message, innerException) { }

    /// <summary>
    /// The device was short of memory or resources: the operation was not begun, what was asked for before it goes on, and the same or
    /// less may be asked for again. False: the device is lost, or the call should never have been made.
    /// </summary>
    public virtual bool IsRefusal => false;

    /// <summary>An exception that says no more than that there was no room: of the device, or of the host's memory.</summary>
    public static bool Refuses(Exception exception) => exception is OutOfMemoryException or DeviceException { IsRefusal: true };
}
