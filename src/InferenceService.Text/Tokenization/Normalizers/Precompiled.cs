using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "Precompiled": SentencePiece's character map, a Darts double-array trie from UTF-8 to replacement strings.</summary>
/// <remarks>Layout: u32 size of the trie in bytes, the trie's u32 units, then replacements that end with NUL; a trie value is the
/// offset of its replacement. As in Hugging Face's version, a grapheme of fewer than six bytes is looked up as a whole (and its
/// shortest match replaces all of it), then every character by itself.</remarks>
internal sealed class Precompiled : INormalizer
{
    private const int MaxGraphemeBytes = 6;
    private const int MaxReplacement = 1000;

    private readonly uint[] _trie;
    private readonly byte[] _replacements;
    private readonly bool[] _plain = new bool[128];

    public Precompiled(JsonPart part)
    {
        JsonPart field = part.Required("precompiled_charsmap");
        byte[] map;
        try
        {
            map = Convert.FromBase64String(field.String());
        }
        catch (FormatException e)
        {
            throw new TokenizerException($"{field.Path} is not base64", e);
        }

        if (map.Length < 4)
            throw field.Error($"is {map.Length} bytes long; it must hold at least a size");
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(map);
        if (size % 4 != 0 || size == 0 || size > map.Length - 4)
            throw field.Error($"names a trie of {size} bytes in {map.Length - 4}");
        _trie = new uint[size / 4];
        for (int i = 0; i < _trie.Length; i++)
            _trie[i] = BinaryPrimitives.ReadUInt32LittleEndian(map.AsSpan(4 + (4 * i)));
        _replacements = map[(4 + (int)size)..];
        if (!System.Text.Unicode.Utf8.IsValid(_replacements))
            throw field.Error("has replacements that are not UTF-8");
        for (int c = 0; c < _plain.Length; c++)
            _plain[c] = c != '\r' && Find([(byte)c]) is null;
    }

    public string Normalize(string text)
    {
        StringBuilder? result = null;
        Span<byte> utf8 = stackalloc byte[MaxGraphemeBytes];
        for (int at = 0; at < text.Length;)
        {
            // An ASCII character before another one is a grapheme by itself.
            if (text[at] < 128 && _plain[text[at]] && (at + 1 == text.Length || text[at + 1] < 128))
            {
                result?.Append(text[at]);
                at++;
                continue;
            }

            result ??= new StringBuilder(text, 0, at, text.Length + 16);
            int length = StringInfo.GetNextTextElementLength(text.AsSpan(at));
            ReadOnlySpan<char> grapheme = text.AsSpan(at, length);
            if (length >= MaxGraphemeBytes || Encoding.UTF8.GetByteCount(grapheme) >= MaxGraphemeBytes || !Append(result, grapheme, utf8))
                AppendEach(result, grapheme, utf8);
            at += length;
        }

        return result?.ToString() ?? text;
    }

    private void AppendEach(StringBuilder result, ReadOnlySpan<char> grapheme, Span<byte> utf8)
    {
        while (!grapheme.IsEmpty)
        {
            Rune.DecodeFromUtf16(grapheme, out _, out int length);
            if (!Append(result, grapheme[..length], utf8))
                result.Append(grapheme[..length]);
            grapheme = grapheme[length..];
        }
    }

    /// <summary>Appends the replacement of a short piece of text; false when it has none.</summary>
    private bool Append(StringBuilder result, ReadOnlySpan<char> piece, Span<byte> utf8)
    {
        int bytes = Encoding.UTF8.GetBytes(piece, utf8);
        if (Find(utf8[..bytes]) is not { } offset)
            return false;
        if (offset < _replacements.Length)
        {
            ReadOnlySpan<byte> rest = _replacements.AsSpan(offset);
            int end = rest.IndexOf((byte)0);
            rest = end < 0 ? rest : rest[..end];
            if (rest.Length > MaxReplacement)
                throw new TokenizerException($"precompiled_charsmap replaces a character by {rest.Length} bytes; at most {MaxReplacement} are allowed");
            result.Append(Encoding.UTF8.GetString(rest));
        }

        return true;
    }

    /// <summary>The value of the shortest key that <paramref name="text"/> begins with. A damaged trie ends the search.</summary>
    private int? Find(ReadOnlySpan<byte> text)
    {
        uint node = Offset(_trie[0]);
        foreach (byte b in text)
        {
            node ^= b;
            if (b == 0 || node >= _trie.Length)
                return null;
            uint unit = _trie[node];
            if ((unit & 0x8000_00FF) != b)
                return null;
            node ^= Offset(unit);
            if (node >= _trie.Length)
                return null;
            if ((unit & 0x100) != 0)
                return (int)(_trie[node] & 0x7FFF_FFFF);
        }

        return null;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);
}
