namespace InferenceService.Server.Api.Requests;

/// <summary>Everything wrong with one request. The first problem decides status, code and field; the message lists them all.</summary>
internal sealed class Problems
{
    /// <summary>Problems that a message spells out; more are counted.</summary>
    internal const int Listed = 8;

    private readonly List<ApiError> _first = [];
    private int _count;

    /// <summary>Whether there is one.</summary>
    public bool Any => _count > 0;

    /// <summary>Adds a problem.</summary>
    public void Add(ApiError problem)
    {
        if (_count++ < Listed)
            _first.Add(problem);
    }

    /// <summary>A field of the wrong type or outside its range.</summary>
    public void Invalid(string param, string message) => Add(ApiError.InvalidValue(param, message));

    /// <summary>A field that is known but cannot be had here.</summary>
    public void Unsupported(string param, string message) => Add(ApiError.Unsupported(param, message));

    /// <summary>A field that has to be there.</summary>
    public void Missing(string param) =>
        Add(new ApiError(400, "invalid_request_error", "missing_required_parameter", $"{param} is required.", param));

    /// <summary>All of them as one error; null when there is none.</summary>
    public ApiError? ToError()
    {
        if (_count == 0)
            return null;
        if (_count == 1)
            return _first[0];
        string more = _count > Listed ? $" And {_count - Listed} more." : "";
        return _first[0] with { Message = string.Join(' ', _first.Select(problem => problem.Message)) + more };
    }
}
