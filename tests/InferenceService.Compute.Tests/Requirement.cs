using System.Reflection;
using System.Runtime.Intrinsics.X86;
using InferenceService.Compute.Cpu;
using InferenceService.Compute.Cpu.Generated;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace InferenceService.Compute.Tests;

/// <summary>What a class of contract tests needs from the machine; where it is missing its tests are skipped, visibly.</summary>
[AttributeUsage(AttributeTargets.Class)]
public abstract class RequirementAttribute : Attribute
{
    /// <summary>What is missing here, or null.</summary>
    public abstract string? Missing { get; }
}

/// <summary>The processor must have a SIMD path.</summary>
public sealed class RequiresPathAttribute(SimdPath path) : RequirementAttribute
{
    public SimdPath Path { get; } = path;

    public override string? Missing => Path.IsSupported() ? null : $"this processor has no {Path}";
}

/// <summary>The processor must be able to run a family of kernels.</summary>
public sealed class RequiresKernelsAttribute(KernelFamily family) : RequirementAttribute
{
    public KernelFamily Family { get; } = family;

    public override string? Missing => Family.IsSupported() ? null : $"this processor has no {Family} kernels";
}

/// <summary>The processor must be an x64 one and the system must let a process make code.</summary>
public sealed class RequiresExecutableMemoryAttribute : RequirementAttribute
{
    public override string? Missing =>
        !X86Base.X64.IsSupported ? "this is no x64 processor" : GeneratedKernels.MayExecute ? null : "the system refuses executable memory";
}

/// <summary>A fact of a contract suite: skipped when the class's <see cref="RequirementAttribute"/> is not met.</summary>
[AttributeUsage(AttributeTargets.Method)]
[XunitTestCaseDiscoverer("InferenceService.Compute.Tests.ContractFactDiscoverer", "InferenceService.Compute.Tests")]
public sealed class ContractFactAttribute : FactAttribute;

/// <summary>Makes the test cases of <see cref="ContractFactAttribute"/>.</summary>
public sealed class ContractFactDiscoverer(IMessageSink sink) : FactDiscoverer(sink)
{
    protected override IXunitTestCase CreateTestCase(
        ITestFrameworkDiscoveryOptions discoveryOptions, ITestMethod testMethod, IAttributeInfo factAttribute) =>
        new ContractTestCase(
            DiagnosticMessageSink, discoveryOptions.MethodDisplayOrDefault(), discoveryOptions.MethodDisplayOptionsOrDefault(), testMethod);
}

/// <summary>A test case that asks its class whether it can run here.</summary>
public sealed class ContractTestCase : XunitTestCase
{
    [Obsolete("Called by the deserializer.")]
    public ContractTestCase()
    {
    }

    public ContractTestCase(IMessageSink sink, TestMethodDisplay display, TestMethodDisplayOptions options, ITestMethod method)
        : base(sink, display, options, method)
    {
    }

    protected override string GetSkipReason(IAttributeInfo factAttribute) =>
        (TestMethod.TestClass.Class as IReflectionTypeInfo)?.Type.GetCustomAttribute<RequirementAttribute>()?.Missing
        ?? base.GetSkipReason(factAttribute);
}
