using System.Globalization;
using System.Text;

namespace InferenceService.Text.Templates.Formatting;

/// <summary>Python's <c>strftime</c> of a time without zone, in the C locale, with the flags of the GNU C library (<c>%-d</c>, <c>%_d</c>, <c>%^a</c>).</summary>
internal static class TimeFormat
{
    public static string Apply(string format, DateTime time, Budget budget)
    {
        StringBuilder output = new();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                output.Append(format[i]);
                continue;
            }
            int start = i++;
            char flag = format[i] is '-' or '_' or '0' or '^' or '#' && i + 1 < format.Length ? format[i++] : '\0';
            output.Append(One(format[i], flag, time, budget) ?? format[start..(i + 1)]);
            budget.MakeChars(output.Length);
        }
        return output.ToString();
    }

    /// <summary>The text of one directive, or null for one that is unknown and stays as it is.</summary>
    private static string? One(char directive, char flag, DateTime time, Budget budget)
    {
        int hour12 = time.Hour % 12 == 0 ? 12 : time.Hour % 12;
        string? text = directive switch
        {
            'a' => time.ToString("ddd", CultureInfo.InvariantCulture),
            'A' => time.ToString("dddd", CultureInfo.InvariantCulture),
            'b' or 'h' => time.ToString("MMM", CultureInfo.InvariantCulture),
            'B' => time.ToString("MMMM", CultureInfo.InvariantCulture),
            'p' => flag == '#' ? (time.Hour < 12 ? "am" : "pm") : time.Hour < 12 ? "AM" : "PM",
            'P' => time.Hour < 12 ? "am" : "pm",
            'Y' => Digits(time.Year, flag == '\0' ? 1 : 4, flag),
            'C' => Digits(time.Year / 100, 2, flag),
            'y' => Digits(time.Year % 100, 2, flag),
            'G' => Digits(ISOWeek.GetYear(time), flag == '\0' ? 1 : 4, flag),
            'g' => Digits(ISOWeek.GetYear(time) % 100, 2, flag),
            'm' => Digits(time.Month, 2, flag),
            'd' => Digits(time.Day, 2, flag),
            'e' => Digits(time.Day, 2, flag == '\0' ? '_' : flag),
            'H' => Digits(time.Hour, 2, flag),
            'k' => Digits(time.Hour, 2, flag == '\0' ? '_' : flag),
            'I' => Digits(hour12, 2, flag),
            'l' => Digits(hour12, 2, flag == '\0' ? '_' : flag),
            'M' => Digits(time.Minute, 2, flag),
            'S' => Digits(time.Second, 2, flag),
            'f' when flag == '\0' => (time.Ticks / 10 % 1_000_000).ToString("000000", CultureInfo.InvariantCulture),
            'j' => Digits(time.DayOfYear, 3, flag),
            'u' => Digits(time.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)time.DayOfWeek, 1, flag),
            'w' => Digits((int)time.DayOfWeek, 1, flag),
            'U' => Digits((time.DayOfYear + 6 - (int)time.DayOfWeek) / 7, 2, flag),
            'W' => Digits((time.DayOfYear + 6 - ((int)time.DayOfWeek + 6) % 7) / 7, 2, flag),
            'V' => Digits(ISOWeek.GetWeekOfYear(time), 2, flag),
            's' => (new DateTimeOffset(time, TimeSpan.Zero).ToUnixTimeSeconds()).ToString(CultureInfo.InvariantCulture),
            'c' => Apply("%a %b %e %H:%M:%S %Y", time, budget),
            'x' or 'D' => Apply("%m/%d/%y", time, budget),
            'X' or 'T' => Apply("%H:%M:%S", time, budget),
            'F' => Apply("%Y-%m-%d", time, budget),
            'R' => Apply("%H:%M", time, budget),
            'r' => Apply("%I:%M:%S %p", time, budget),
            'n' => "\n",
            't' => "\t",
            '%' => "%",
            'z' or 'Z' => "",
            _ => null,
        };
        return flag is '^' || (flag == '#' && directive != 'p') ? text?.ToUpperInvariant() : text;
    }

    private static string Digits(int number, int width, char flag)
    {
        string digits = number.ToString(CultureInfo.InvariantCulture);
        return flag == '-' ? digits : digits.PadLeft(width, flag == '_' ? ' ' : '0');
    }
}
