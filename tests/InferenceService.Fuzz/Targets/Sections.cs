using System.Text;

namespace InferenceService.Fuzz.Targets;

/// <summary>Several files in one input, divided by zero bytes.</summary>
internal static class Sections
{
    /// <summary>Everything before the first zero byte, and everything behind it.</summary>
    public static (byte[] First, byte[] Second) Split(byte[] input)
    {
        int at = Array.IndexOf(input, (byte)0);
        return at < 0 ? (input, []) : (input[..at], input[(at + 1)..]);
    }

    /// <summary>An input of two texts.</summary>
    public static byte[] Join(string first, string second) => Encoding.UTF8.GetBytes($"{first}\0{second}");
}
