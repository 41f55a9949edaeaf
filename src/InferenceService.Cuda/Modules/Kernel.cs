using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Modules;

/// <summary>One kernel whose only parameter is a <typeparamref name="T"/>.</summary>
/// <typeparam name="T">The C# twin of the struct in the kernel's file; sizes are compared when the module is loaded.</typeparam>
internal sealed unsafe class Kernel<T> where T : unmanaged
{
    private const int SharedBytesWithoutAsking = 48 << 10;

    private readonly CudaDevice _device;
    private readonly nint _function;
    private readonly string _name;
    private int _sharedBytes = SharedBytesWithoutAsking;

    /// <summary>Takes the kernel from a module and checks its parameter.</summary>
    /// <exception cref="CudaException">It is not there.</exception>
    /// <exception cref="InvalidOperationException">Its parameter has another size than <typeparamref name="T"/>: an error of ours that C# cannot see.</exception>
    public Kernel(CudaDevice device, nint module, string name)
    {
        (_device, _name) = (device, name);
        nint function;
        fixed (byte* text = System.Text.Encoding.UTF8.GetBytes(name + '\0'))
            device.Check(CudaDriver.ModuleGetFunction(&function, module, text), "cuModuleGetFunction", name);
        _function = function;
        device.Check(CudaDriver.FunctionLoad(function), "cuFuncLoad", name);
        CheckParameter();
    }

    /// <summary>Enqueues the kernel; a grid with nothing in it is no work.</summary>
    public void Launch(CudaStream stream, in T arguments, (long X, long Y, long Z) grid, int block, int sharedBytes = 0)
    {
        if (grid.X == 0 || grid.Y == 0 || grid.Z == 0)
            return;
        if (sharedBytes > _sharedBytes)
        {
            _device.Check(CudaDriver.FunctionSetAttribute(_function, FunctionAttribute.MaxDynamicSharedBytes, sharedBytes), "cuFuncSetAttribute", _name);
            _sharedBytes = sharedBytes;
        }

        fixed (T* first = &arguments)
        {
            void* parameter = first;
            _device.Check(
                CudaDriver.Launch(
                    _function, checked((uint)grid.X), checked((uint)grid.Y), checked((uint)grid.Z), (uint)block, 1, 1, (uint)sharedBytes, stream.Handle, &parameter, null),
                "cuLaunchKernel", _name);
        }
    }

    private void CheckParameter()
    {
        nuint offset, size;
        try
        {
            _device.Check(CudaDriver.FunctionGetParameter(_function, 0, &offset, &size), "cuFuncGetParamInfo", _name);
        }
        catch (EntryPointNotFoundException)
        {
            return; // drivers before 12.4 cannot tell
        }

        bool more = CudaDriver.FunctionGetParameter(_function, 1, &offset, &offset) == CudaStatus.Success;
        if (more || size != (nuint)sizeof(T))
            throw new InvalidOperationException($"Kernel {_name} takes {size} bytes{(more ? " and more" : "")}, {typeof(T).Name} has {sizeof(T)}.");
    }
}
