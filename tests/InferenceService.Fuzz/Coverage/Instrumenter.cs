using Mono.Cecil;
using Mono.Cecil.Cil;
using Mono.Cecil.Rocks;

namespace InferenceService.Fuzz.Coverage;

/// <summary>Writes copies of our assemblies in which every basic block counts its executions.</summary>
internal sealed class Instrumenter
{
    /// <summary>Beside the instrumented assemblies: how many blocks they have.</summary>
    public const string CountFile = "blocks.txt";

    /// <summary>Assemblies that read outside bytes, and the namespaces of each that do; kernels, engine and start-up stay as they are.</summary>
    private static readonly (string Assembly, string[] Namespaces)[] Instrumented =
    [
        ("InferenceService.Text", ["InferenceService.Text"]),
        ("InferenceService.Models", ["InferenceService.Models.Checkpoints", "InferenceService.Models.Packed", "InferenceService.Models.Architectures"]),
        ("InferenceService.Server",
            ["InferenceService.Server.Api", "InferenceService.Server.Configuration", "InferenceService.Server.Generation", "InferenceService.Server.Security", "InferenceService.Server.Hub", "InferenceService.Server.Hosting.Pipeline", "InferenceService.Server.Hosting.Admin"]),
    ];

    private int _blocks;

    /// <summary>Copies a folder and instruments the copy.</summary>
    public static void CopyInstrumented(string from, string to)
    {
        if (Directory.Exists(to))
            Directory.Delete(to, recursive: true);
        foreach (string folder in Directory.GetDirectories(from, "*", SearchOption.AllDirectories).Append(from))
        {
            if (!Path.GetFullPath(folder).StartsWith(Path.GetFullPath(to), StringComparison.Ordinal))
                CopyFiles(folder, Path.Combine(to, Path.GetRelativePath(from, folder)));
        }

        var instrumenter = new Instrumenter();
        foreach ((string assembly, string[] namespaces) in Instrumented)
            instrumenter.Rewrite(Path.Combine(from, assembly + ".dll"), Path.Combine(to, assembly + ".dll"), namespaces);
        File.WriteAllText(Path.Combine(to, CountFile), instrumenter._blocks.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }

    private static void CopyFiles(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
    }

    private void Rewrite(string from, string to, string[] namespaces)
    {
        using var resolver = new DefaultAssemblyResolver();
        resolver.AddSearchDirectory(Path.GetDirectoryName(from));
        foreach (string assembly in ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(path => Path.GetDirectoryName(path)!).Distinct())
            resolver.AddSearchDirectory(assembly);
        using var module = ModuleDefinition.ReadModule(from, new ReaderParameters { AssemblyResolver = resolver });
        MethodReference hit = module.ImportReference(typeof(BlockCounts).GetMethod(nameof(BlockCounts.Hit)));
        foreach (TypeDefinition type in module.GetAllTypes())
        {
            if (!namespaces.Any(name => Outermost(type).Namespace.StartsWith(name, StringComparison.Ordinal)))
                continue;
            foreach (MethodDefinition method in type.Methods.Where(method => method.HasBody))
                Instrument(method.Body, hit);
        }

        module.Write(to);
    }

    private static TypeDefinition Outermost(TypeDefinition type) => type.DeclaringType is { } outer ? Outermost(outer) : type;

    private void Instrument(MethodBody body, MethodReference hit)
    {
        body.SimplifyMacros();
        ILProcessor il = body.GetILProcessor();
        foreach (Instruction start in BlockStarts(body))
        {
            if (_blocks == BlockCounts.Capacity)
                throw new InvalidOperationException($"More than {BlockCounts.Capacity} blocks; make room in {nameof(BlockCounts)}.");
            Instruction id = il.Create(OpCodes.Ldc_I4, _blocks++);
            il.InsertBefore(start, id);
            il.InsertBefore(start, il.Create(OpCodes.Call, hit));
            Redirect(body, start, id);
        }

        body.OptimizeMacros();
    }

    private static List<Instruction> BlockStarts(MethodBody body)
    {
        var starts = new HashSet<Instruction> { body.Instructions[0] };
        foreach (Instruction instruction in body.Instructions)
        {
            if (instruction.Operand is Instruction target)
                starts.Add(target);
            else if (instruction.Operand is Instruction[] targets)
                starts.UnionWith(targets);
            if (instruction.OpCode.FlowControl == FlowControl.Cond_Branch && instruction.Next is { } next)
                starts.Add(next);
        }

        foreach (ExceptionHandler handler in body.ExceptionHandlers)
        {
            starts.Add(handler.HandlerStart);
            if (handler.FilterStart is { } filter)
                starts.Add(filter);
        }

        return [.. body.Instructions.Where(starts.Contains)];
    }

    /// <summary>Whoever went to a block's first instruction now goes to its count.</summary>
    private static void Redirect(MethodBody body, Instruction from, Instruction to)
    {
        foreach (Instruction instruction in body.Instructions)
        {
            if (instruction.Operand == from)
                instruction.Operand = to;
            else if (instruction.Operand is Instruction[] targets)
                instruction.Operand = Array.ConvertAll(targets, target => target == from ? to : target);
        }

        foreach (ExceptionHandler handler in body.ExceptionHandlers)
        {
            handler.TryStart = handler.TryStart == from ? to : handler.TryStart;
            handler.TryEnd = handler.TryEnd == from ? to : handler.TryEnd;
            handler.HandlerStart = handler.HandlerStart == from ? to : handler.HandlerStart;
            handler.HandlerEnd = handler.HandlerEnd == from ? to : handler.HandlerEnd;
            handler.FilterStart = handler.FilterStart == from ? to : handler.FilterStart;
        }
    }
}
