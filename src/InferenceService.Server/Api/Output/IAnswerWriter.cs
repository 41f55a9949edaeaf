using System.Text.Json;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Api.Output;

/// <summary>The JSON of one route's answers. Each method writes one complete document and changes nothing.</summary>
internal interface IAnswerWriter
{
    /// <summary>Whether a choice's stream opens with a chunk of its own (chat: the role).</summary>
    bool HasOpening { get; }

    /// <summary>The opening chunk of a choice.</summary>
    void WriteOpening(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice);

    /// <summary>A chunk with the text and tokens of a choice that are not yet sent.</summary>
    void WriteDelta(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice);

    /// <summary>The last chunk of a choice: why it ended, and tokens that came without text.</summary>
    void WriteFinish(Utf8JsonWriter json, TextGeneration generation, ChoiceText choice);

    /// <summary>The chunk after all choices: usage, no choices.</summary>
    void WriteUsage(Utf8JsonWriter json, TextGeneration generation);

    /// <summary>The answer as one body.</summary>
    void WriteWhole(Utf8JsonWriter json, TextGeneration generation);
}
