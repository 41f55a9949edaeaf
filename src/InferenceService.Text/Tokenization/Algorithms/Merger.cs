using System.Buffers;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Applies merges to a run of ids: always the lowest rank, and of equal ranks the leftmost, until none applies.</summary>
internal static class Merger
{
    /// <summary>Up to here a scan over all pairs per merge is faster than a heap.</summary>
    private const int ShortRun = 40;

    /// <summary>Merges in place; returns how many ids are left at the front of the span.</summary>
    /// <remarks>Short runs cost O(n²) with a tiny constant, long ones O(n log n).</remarks>
    public static int Merge(Span<int> ids, MergeTable table) => ids.Length <= ShortRun ? MergeShort(ids, table) : MergeLong(ids, table);

    private static int MergeShort(Span<int> ids, MergeTable table)
    {
        int count = ids.Length;
        Span<int> ranks = stackalloc int[ShortRun];
        Span<int> merged = stackalloc int[ShortRun];
        for (int i = 0; i + 1 < count; i++)
            ranks[i] = table.Find(ids[i], ids[i + 1], out merged[i]);
        while (count > 1)
        {
            int best = 0;
            for (int i = 1; i < count - 1; i++)
            {
                if (ranks[i] < ranks[best])
                    best = i;
            }

            if (ranks[best] == MergeTable.NoRank)
                break;
            ids[best] = merged[best];
            ids[(best + 2)..count].CopyTo(ids[(best + 1)..]);
            if (best + 2 < count)
            {
                ranks[(best + 2)..(count - 1)].CopyTo(ranks[(best + 1)..]);
                merged[(best + 2)..(count - 1)].CopyTo(merged[(best + 1)..]);
            }

            count--;
            if (best > 0)
                ranks[best - 1] = table.Find(ids[best - 1], ids[best], out merged[best - 1]);
            if (best + 1 < count)
                ranks[best] = table.Find(ids[best], ids[best + 1], out merged[best]);
        }

        return count;
    }

    /// <summary>A linked list of symbols and a heap of candidate merges; candidates whose pair has changed since are skipped.</summary>
    private static int MergeLong(Span<int> ids, MergeTable table)
    {
        int count = ids.Length;
        int[] next = ArrayPool<int>.Shared.Rent(count);
        int[] previous = ArrayPool<int>.Shared.Rent(count);
        var heap = new MergeHeap(count);
        for (int i = 0; i < count; i++)
        {
            next[i] = i + 1;
            previous[i] = i - 1;
            if (i + 1 < count)
                Offer(ref heap, table, ids, i, i + 1);
        }

        const int Gone = -2;
        while (heap.TryPop(out int left, out int leftId, out int rightId))
        {
            int right = next[left];
            if (previous[left] == Gone || right >= count || ids[left] != leftId || ids[right] != rightId)
                continue;
            table.Find(leftId, rightId, out ids[left]);
            int after = next[right];
            next[left] = after;
            previous[right] = Gone;
            if (after < count)
            {
                previous[after] = left;
                Offer(ref heap, table, ids, left, after);
            }

            if (previous[left] >= 0)
                Offer(ref heap, table, ids, previous[left], left);
        }

        int kept = 0;
        for (int i = 0; i < count; i = next[i])
            ids[kept++] = ids[i];
        heap.Return();
        ArrayPool<int>.Shared.Return(next);
        ArrayPool<int>.Shared.Return(previous);
        return kept;
    }

    private static void Offer(ref MergeHeap heap, MergeTable table, ReadOnlySpan<int> ids, int left, int right)
    {
        int rank = table.Find(ids[left], ids[right], out _);
        if (rank != MergeTable.NoRank)
            heap.Push(rank, left, ids[left], ids[right]);
    }
}
