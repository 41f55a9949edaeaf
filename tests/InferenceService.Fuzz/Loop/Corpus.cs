using System.Security.Cryptography;

namespace InferenceService.Fuzz.Loop;

/// <summary>Inputs worth changing: the target's own, those kept in <c>tests/golden/fuzz</c>, and those that reached something new.</summary>
internal sealed class Corpus
{
    private const string KeptFile = "corpus.txt";
    private readonly List<byte[]> _inputs = [];
    private readonly List<long> _work = [];
    private readonly HashSet<string> _known = new(StringComparer.Ordinal);

    /// <summary>All of them, oldest first.</summary>
    public IReadOnlyList<byte[]> Inputs => _inputs;

    /// <summary>Adds an input unless it is there.</summary>
    /// <param name="work">What it costs to run.</param>
    public bool Add(byte[] input, long work = 0)
    {
        if (!_known.Add(Convert.ToHexString(SHA256.HashData(input))))
            return false;
        _inputs.Add(input);
        _work.Add(work);
        return true;
    }

    /// <summary>One of them: cheap ones more often than those that take long.</summary>
    public byte[] Pick(Chance chance)
    {
        int a = chance.Below(_inputs.Count), b = chance.Below(_inputs.Count);
        return _inputs[chance.OneIn(4) || _work[a] < _work[b] ? a : b];
    }

    /// <summary>The inputs kept for a target: the lines of its corpus file, then one file for each thing found.</summary>
    public static IEnumerable<byte[]> Kept(string golden, string target)
    {
        string folder = Path.Combine(golden, target);
        foreach (byte[] input in Lines(Path.Combine(folder, KeptFile)))
            yield return input;
        foreach ((_, byte[] input) in Found(golden, target))
            yield return input;
    }

    /// <summary>What this target's runs have found, by file name: each was a fault once.</summary>
    public static IEnumerable<(string File, byte[] Input)> Found(string golden, string target)
    {
        string folder = Path.Combine(golden, target);
        if (!Directory.Exists(folder))
            yield break;
        foreach (string file in Directory.GetFiles(folder, "*.bin").Order(StringComparer.Ordinal))
            yield return (Path.GetFileName(file), File.ReadAllBytes(file));
    }

    /// <summary>Inputs of a corpus file: one a line, base64.</summary>
    public static IEnumerable<byte[]> Lines(string path) =>
        File.Exists(path) ? File.ReadLines(path).Where(line => line.Length > 0).Select(Convert.FromBase64String) : [];

    /// <summary>Writes a corpus file.</summary>
    public static void Save(string folder, IEnumerable<byte[]> inputs)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllLines(Path.Combine(folder, KeptFile), inputs.Select(Convert.ToBase64String));
    }

    /// <summary>Where a folder's corpus file is.</summary>
    public static string FileIn(string folder) => Path.Combine(folder, KeptFile);
}
