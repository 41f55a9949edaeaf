namespace InferenceService.Fuzz.Mutation;

/// <summary>Values at which readers break.</summary>
internal static class Interesting
{
    /// <summary>Whole numbers at the edges of types and sizes.</summary>
    public static long[] Numbers { get; } =
    [
        0, 1, -1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 65, 127, 128, 255, 256, 257, 511, 512, 1000, 1023, 1024, 4095, 4096, 32767, 32768, 65535, 65536,
        1 << 20, (1 << 20) + 1, 1 << 24, int.MaxValue - 1, int.MaxValue, 1L << 31, (1L << 31) + 1, uint.MaxValue, 1L << 32, long.MaxValue - 1, long.MaxValue, long.MinValue,
        int.MinValue, -128, -32768, 100_000_000, 100_000_001, 1L << 53, 1L << 62,
    ];

    /// <summary>What looks like a JSON value and is none.</summary>
    public static string[] BrokenJson { get; } = ["NaN", "Infinity", "01", "+1", ".5", "1.", "\"\\x\"", "//", "/**/", "'a'", "nul", "\"", "{", "]", ",", "\"\t\""];

    /// <summary>JSON values.</summary>
    public static string[] Json { get; } =
    [
        "null", "true", "false", "0", "-0", "1", "-1", "0.5", "1e5", "1e400", "-1e400", "1e-400", "1.0", "16.0", "2147483647", "2147483648", "-2147483649", "4294967296",
        "9223372036854775807", "9223372036854775808", "18446744073709551616", "123456789012345678901234567890", "0.1e1", "\"\"",
        "\"a\"", "\" \"", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\ud83d\\ude00\"", "\"\\n\"", "\"\\u2028\"", "\"é\"", "\"😀\"", "\"\u0301\"", "\"\uFEFF\"",
        "[]", "{}", "[[]]", "[{}]", "{\"\":0}", "[null]", "[0,0]", "[1,\"a\"]", "[\"a\",1]", "[-1]", "[0.5]", "{\"a\":{\"b\":[]}}", "{\"a\":1,\"a\":2}", "\"<0x41>\"", "2", "3", "4", "8", "16", "64", "128", "[1]", "[1,2]", "\"x\"",
    ];

    /// <summary>Bits of text at which encodings, line readers and escapes break.</summary>
    public static string[] Text { get; } =
    [
        "\0", "\n", "\r", "\r\n", "\t", " ", "  ", "\u00A0", "\u2028", "\u2029", "\u0085", "\uFEFF", "\uFFFD", "\u200B", "\u0301", "é", "ß", "İ", "ﬁ", "Ω", "漢", "한", "😀", "👩‍👩‍👧", "𝒳",
        "\u1E9E", "\u0130", "\u1100\u1161", "'", "\"", "\\", "%", "%s", "{0}", "data: ", "\n\ndata: [DONE]\n\n", "<|", "|>", "<s>", "</s>", "\x1b[31m", "..", "/", "\u0378",
    ];

    /// <summary>Bytes that are no UTF-8.</summary>
    public static byte[][] BadUtf8 { get; } =
    [
        [0x80], [0xBF], [0xC0, 0x80], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xED, 0xB0, 0x80], [0xEF, 0xBF], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF8, 0x88], [0xFE], [0xFF], [0xFF, 0xFE],
    ];
}
