namespace InferenceService.Text.Templates.Values;

/// <summary>A stable merge sort that asks only <c>&lt;</c>, as Python's does; a comparison may fail, which the library's sort would wrap.</summary>
internal static class Sorting
{
    /// <summary>Sorts <paramref name="items"/> in place by the keys of the same index; equal keys keep their order, reversed or not.</summary>
    public static void Sort(Value[] items, Value[] keys, bool reverse, Budget budget)
    {
        int[] order = new int[items.Length];
        for (int i = 0; i < order.Length; i++)
            order[i] = i;
        Sort(order, new int[order.Length], 0, order.Length, keys, reverse, budget);
        Value[] source = [.. items];
        for (int i = 0; i < order.Length; i++)
            items[i] = source[order[i]];
    }

    private static void Sort(int[] order, int[] spare, int start, int stop, Value[] keys, bool reverse, Budget budget)
    {
        if (stop - start < 2)
            return;
        int middle = start + (stop - start) / 2;
        Sort(order, spare, start, middle, keys, reverse, budget);
        Sort(order, spare, middle, stop, keys, reverse, budget);
        order.AsSpan(start..stop).CopyTo(spare.AsSpan(start));
        int left = start, right = middle;
        for (int i = start; i < stop; i++)
        {
            bool takeRight = left == middle || (right < stop && Precedes(keys[spare[right]], keys[spare[left]]));
            order[i] = takeRight ? spare[right++] : spare[left++];
        }

        bool Precedes(Value a, Value b) =>
            reverse ? Comparison.Ordered(b, a, "<", budget) : Comparison.Ordered(a, b, "<", budget);
    }
}
