using System.Buffers;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>A binary min-heap of candidate merges, ordered by rank and then position. Rented arrays: give them back with <see cref="Return"/>.</summary>
internal struct MergeHeap
{
    private ulong[] _keys;
    private (int Left, int Right)[] _pairs;
    private int _count;

    public MergeHeap(int capacity)
    {
        _keys = ArrayPool<ulong>.Shared.Rent(capacity);
        _pairs = ArrayPool<(int Left, int Right)>.Shared.Rent(capacity);
    }

    public void Push(int rank, int position, int leftId, int rightId)
    {
        if (_count == Math.Min(_keys.Length, _pairs.Length))
            Grow();
        ulong key = ((ulong)(uint)rank << 32) | (uint)position;
        int at = _count++;
        while (at > 0)
        {
            int parent = (at - 1) >> 1;
            if (_keys[parent] <= key)
                break;
            (_keys[at], _pairs[at]) = (_keys[parent], _pairs[parent]);
            at = parent;
        }

        (_keys[at], _pairs[at]) = (key, (leftId, rightId));
    }

    public bool TryPop(out int position, out int leftId, out int rightId)
    {
        if (_count == 0)
        {
            (position, leftId, rightId) = (0, 0, 0);
            return false;
        }

        position = (int)(uint)_keys[0];
        (leftId, rightId) = _pairs[0];
        ulong key = _keys[--_count];
        (int Left, int Right) pair = _pairs[_count];
        int at = 0;
        while (true)
        {
            int child = (2 * at) + 1;
            if (child >= _count)
                break;
            if (child + 1 < _count && _keys[child + 1] < _keys[child])
                child++;
            if (key <= _keys[child])
                break;
            (_keys[at], _pairs[at]) = (_keys[child], _pairs[child]);
            at = child;
        }

        (_keys[at], _pairs[at]) = (key, pair);
        return true;
    }

    public readonly void Return()
    {
        ArrayPool<ulong>.Shared.Return(_keys);
        ArrayPool<(int Left, int Right)>.Shared.Return(_pairs);
    }

    private void Grow()
    {
        ulong[] keys = ArrayPool<ulong>.Shared.Rent(_count * 2);
        (int Left, int Right)[] pairs = ArrayPool<(int Left, int Right)>.Shared.Rent(_count * 2);
        _keys.AsSpan(0, _count).CopyTo(keys);
        _pairs.AsSpan(0, _count).CopyTo(pairs);
        Return();
        (_keys, _pairs) = (keys, pairs);
    }
}
