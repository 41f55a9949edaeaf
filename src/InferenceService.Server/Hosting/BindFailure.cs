using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;

namespace InferenceService.Server.Hosting;

/// <summary>Why an address could not be bound, in one line that says what to do.</summary>
internal static class BindFailure
{
    /// <summary>The line; null: the exception is of something else.</summary>
    /// <param name="exception">What the web server threw.</param>
    /// <param name="addresses">What it should have bound.</param>
    /// <param name="hostFlag">Flag of the address.</param>
    /// <param name="portFlag">Flag of the port.</param>
    public static string? Of(Exception exception, ListenAddresses addresses, string hostFlag = "--host", string portFlag = "--port")
    {
        for (Exception? e = exception; e is not null; e = e.InnerException)
        {
            if (e is SocketException socket)
                return Describe(socket.SocketErrorCode);
            if (e is AddressInUseException)
                return Describe(SocketError.AddressAlreadyInUse);
        }

        return exception is IOException or InvalidDataException ? exception.Message.ReplaceLineEndings(" ") : null;

        string Describe(SocketError error) => error switch
        {
            SocketError.AddressAlreadyInUse => $"{addresses.Text} is already in use; choose another port with {portFlag}",
            SocketError.AccessDenied => $"{addresses.Text} may not be bound by this user; choose a port of 1024 or above with {portFlag}",
            SocketError.AddressNotAvailable => $"{addresses.Text} does not belong to this machine; choose another address with {hostFlag}",
            _ => $"{addresses.Text} cannot be bound ({error})",
        };
    }
}
