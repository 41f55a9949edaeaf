using System.Text.Json;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Api.Output;

/// <summary>Why a choice ended: <c>finish_reason</c>, and <c>stop_reason</c> with the stop string or id that did it.</summary>
internal static class FinishJson
{
    private static readonly JsonEncodedText StopReason = JsonEncodedText.Encode("stop_reason");

    /// <summary>Writes both properties of an ended choice.</summary>
    public static void Write(Utf8JsonWriter json, ChoiceText choice)
    {
        json.WriteString("finish_reason"u8, choice.FinishReason);
        if (choice.StopString is { } text)
            json.WriteText(StopReason, text);
        else if (choice.StopToken is { } id)
            json.WriteNumber(StopReason, id);
        else
            json.WriteNull(StopReason);
    }
}
