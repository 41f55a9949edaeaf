using System.Globalization;
using System.Text.Json;

namespace InferenceService.Server.Api.Requests;

/// <summary>Numbers as clients write them, and values as messages show them.</summary>
internal static class JsonNumber
{
    private const int Shown = 64;

    /// <summary>An integer of 64 bits, also written as 16.0 or 1e3.</summary>
    public static bool TryInteger(JsonElement value, out long number)
    {
        number = 0;
        if (value.ValueKind != JsonValueKind.Number)
            return false;
        if (value.TryGetInt64(out number))
            return true;
        if (!value.TryGetDecimal(out decimal exact) || exact != decimal.Truncate(exact) || exact < long.MinValue || exact > long.MaxValue)
            return false;
        number = (long)exact;
        return true;
    }

    /// <summary>A finite number.</summary>
    public static bool TryNumber(JsonElement value, out double number)
    {
        number = 0;
        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out number) && double.IsFinite(number);
    }

    public static string Show(double number) => number.ToString(CultureInfo.InvariantCulture);

    /// <summary>A received value for a message: what it is, at most 64 characters of it, no control characters.</summary>
    public static string Show(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => $"an array of {value.GetArrayLength()}",
        JsonValueKind.String => $"\"{Clean(value.GetString()!)}\"",
        _ => Clean(value.GetRawText()),
    };

    /// <summary>At most 64 characters of a received text, without control characters or halves of surrogate pairs.</summary>
    public static string Clean(string text)
    {
        bool cut = text.Length > Shown;
        int length = cut ? Shown - (char.IsHighSurrogate(text[Shown - 1]) ? 1 : 0) : text.Length;
        string kept = string.Concat(text.Take(length).Where(c => !char.IsControl(c) && char.GetUnicodeCategory(c) != UnicodeCategory.Format));
        return cut ? kept + "…" : kept;
    }
}
