using System.Text;

namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>GPT-2's visible character for every byte: printable Latin-1 stands for itself, the other 68 bytes begin at U+0100.</summary>
internal static class ByteAlphabet
{
    private const int Size = 0x144;

    private static readonly char[] Characters = new char[256];
    private static readonly short[] Bytes = new short[Size];

    static ByteAlphabet()
    {
        Array.Fill(Bytes, (short)-1);
        int next = 256;
        for (int b = 0; b < 256; b++)
        {
            bool visible = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            char c = (char)(visible ? b : next++);
            Characters[b] = c;
            Bytes[c] = (short)b;
        }
    }

    public static char Character(byte value) => Characters[value];

    /// <summary>The byte that a character stands for, or -1.</summary>
    public static int Byte(char character) => character < Size ? Bytes[character] : -1;

    public static string Encode(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        return string.Create(utf8.Length, utf8, static (output, bytes) =>
        {
            for (int i = 0; i < bytes.Length; i++)
                output[i] = Characters[bytes[i]];
        });
    }

    /// <summary>Writes the characters of a text's UTF-8 bytes into the open piece.</summary>
    public static void Encode(ReadOnlySpan<char> text, Pieces pieces)
    {
        Span<byte> utf8 = stackalloc byte[4];
        for (int at = 0; at < text.Length;)
        {
            if (text[at] < 0x80)
            {
                pieces.Write(Characters[text[at++]]);
                continue;
            }

            Rune.DecodeFromUtf16(text[at..], out Rune rune, out int length);
            int bytes = rune.EncodeToUtf8(utf8);
            for (int i = 0; i < bytes; i++)
                pieces.Write(Characters[utf8[i]]);
            at += length;
        }
    }
}
