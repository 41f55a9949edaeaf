namespace InferenceService.Fuzz.Loop;

/// <summary>Reads single inputs again.</summary>
internal static class Replay
{
    /// <summary>Shows what happens to each file's input.</summary>
    /// <returns>How many fail.</returns>
    public static int Run(FuzzTarget target, IEnumerable<string> files)
    {
        int failed = 0;
        var trial = new Trial(target);
        foreach (string file in files)
        {
            byte[] input = Path.GetFileName(file) == "current.bin" ? InputRecord.Read(file) : File.ReadAllBytes(file);
            Exception? fault = trial.Run(input, out bool accepted);
            failed += fault is null ? 0 : 1;
            Console.Out.WriteLine($"{file}: {(fault is null ? accepted ? "accepted" : "refused" : fault.ToString())}");
        }

        return failed;
    }
}
