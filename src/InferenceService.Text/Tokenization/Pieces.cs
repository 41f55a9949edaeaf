namespace InferenceService.Text.Tokenization;

/// <summary>A text under way through the pre-tokenizers: one buffer and the pieces it is cut into. Belongs to one Encode call.</summary>
/// <remarks>A pre-tokenizer goes over the pieces once, puts what becomes of each into the next list, and ends with
/// <see cref="Advance"/>. Empty pieces are dropped. Pieces that only cut share the buffer; pieces that rewrite write a new one.</remarks>
internal sealed class Pieces
{
    private char[] _text = [];
    private char[] _nextText = [];
    private Piece[] _list = new Piece[16];
    private Piece[] _next = new Piece[16];
    private int _nextCount;
    private int _nextLength;
    private int _pieceStart;
    private bool _pieceAtStart;
    private bool _rewritten;

    /// <param name="AtStart">The piece begins where the whole input begins (Metaspace's "first" asks).</param>
    public readonly record struct Piece(int Start, int Length, bool AtStart);

    public int Count { get; private set; }

    public Piece this[int index] => _list[index];

    public ReadOnlySpan<char> Text(Piece piece) => _text.AsSpan(piece.Start, piece.Length);

    /// <summary>Starts over with one piece.</summary>
    public void Reset(ReadOnlySpan<char> text, bool atStart)
    {
        if (_text.Length < text.Length)
            _text = new char[text.Length];
        text.CopyTo(_text);
        _list[0] = new Piece(0, text.Length, atStart);
        Count = text.IsEmpty ? 0 : 1;
    }

    /// <summary>Puts a slice of a piece, in coordinates of that piece, into the next list.</summary>
    public void Keep(Piece piece, int start, int length)
    {
        if (length > 0)
            AddNext(new Piece(piece.Start + start, length, piece.AtStart && start == 0));
    }

    /// <summary>Begins a rewritten piece; <see cref="Write(char)"/> fills it and <see cref="EndPiece"/> closes it.</summary>
    public void BeginPiece(bool atStart)
    {
        _rewritten = true;
        _pieceStart = _nextLength;
        _pieceAtStart = atStart;
    }

    public void Write(char unit)
    {
        if (_nextLength == _nextText.Length)
            GrowNext(1);
        _nextText[_nextLength++] = unit;
    }

    public void Write(ReadOnlySpan<char> text)
    {
        if (text.Length > _nextText.Length - _nextLength)
            GrowNext(text.Length);
        text.CopyTo(_nextText.AsSpan(_nextLength));
        _nextLength += text.Length;
    }

    public void EndPiece()
    {
        if (_nextLength > _pieceStart)
            AddNext(new Piece(_pieceStart, _nextLength - _pieceStart, _pieceAtStart));
    }

    /// <summary>Makes the next list the current one.</summary>
    public void Advance()
    {
        (_list, _next) = (_next, _list);
        Count = _nextCount;
        _nextCount = 0;
        if (_rewritten)
            (_text, _nextText) = (_nextText, _text);
        _rewritten = false;
        _nextLength = 0;
    }

    private void AddNext(Piece piece)
    {
        if (_nextCount == _next.Length)
            Array.Resize(ref _next, _next.Length * 2);
        _next[_nextCount++] = piece;
    }

    private void GrowNext(int more) => Array.Resize(ref _nextText, Math.Max(_nextLength + more, Math.Max(256, _nextText.Length * 2)));
}
