using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Compute.Tests;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Tests.Modules;

/// <summary>The prelude's primitives against their definitions, computed here: what a device does otherwise, it does otherwise in every kernel.</summary>
[RequiresCuda]
public sealed class PrimitiveTests
{
    private const int Lanes = 32, Outputs = 31;

    [ContractFact]
    public void Every_primitive_does_what_its_definition_says()
    {
        uint[] input = Input();
        uint[][] output = Run(input);
        float[,] left = new float[16, 16], right = new float[16, 8];
        int[,] leftBytes = new int[16, 32], rightBytes = new int[32, 8];
        for (int k = 0; k < 32; k++)
        {
            for (int i = 0; i < 16; i++)
            {
                // Row i of the left operand lies with lanes 4·(i % 8) on: columns k in pairs of 16 bits (k < 16), or in fours of bytes.
                if (k < 16)
                    left[i, k] = Bf16(input[Lanes * (i / 8 + 2 * (k / 8)) + i % 8 * 4 + k % 8 / 2] >> (16 * (k % 2)));
                leftBytes[i, k] = (sbyte)(input[Lanes * (i / 8 + 2 * (k / 16)) + i % 8 * 4 + k % 16 / 4] >> (8 * (k % 4)));
            }

            for (int j = 0; j < 8; j++)
            {
                if (k < 16)
                    right[k, j] = Bf16(input[Lanes * (4 + k / 8) + j * 4 + k % 8 / 2] >> (16 * (k % 2)));
                rightBytes[k, j] = (sbyte)(input[Lanes * (4 + k / 16) + j * 4 + k % 16 / 4] >> (8 * (k % 4)));
            }
        }

        for (int lane = 0; lane < Lanes; lane++)
        {
            for (int r = 0; r < 4; r++)
            {
                (int row, int column) = (lane / 4 + 8 * (r / 2), 2 * (lane % 4) + r % 2);
                (double product, int dot) = (r + 1, r + 1);
                for (int k = 0; k < 32; k++)
                {
                    product += k < 16 ? (double)left[row, k] * right[k, column] : 0;
                    dot += leftBytes[row, k] * rightBytes[k, column];
                }

                Equal(BitConverter.SingleToUInt32Bits((float)product), output[r][lane], "mma of bfloat16", lane); // small whole numbers: exact
                Equal(BitConverter.SingleToUInt32Bits((float)product), output[26 + r][lane], "mma of binary16", lane);
                Equal((uint)dot, output[4 + r][lane], "mma of bytes", lane);
                Equal(input[(8 * r + lane / 4) * 4 + lane % 4], output[8 + r][lane], "ldmatrix", lane);
                Equal(Element(input, 8 * r + 2 * (lane % 4), lane / 4) | Element(input, 8 * r + 2 * (lane % 4) + 1, lane / 4) << 16, output[12 + r][lane], "ldmatrix.trans", lane);
            }

            float x = (input[Lanes * 6 + lane] & 0xFF) * 0.25f + 0.125f;
            Equal(input[lane ^ 5], output[16][lane], "shuffle", lane);
            Equal(Rounded(x) | Rounded(-x * 1.00390625f) << 16, output[17][lane], "pack to bfloat16", lane);
            Equal(Lanes, output[18][lane], "sum in shared memory, high", lane);
            Equal(1 + Lanes * (Lanes - 1) / 2, output[19][lane], "sum in shared memory, low", lane);
            Assert.InRange(BitConverter.UInt32BitsToSingle(output[20][lane]) / Math.Exp(-x * Math.Log(2)), 1 - 3e-7, 1 + 3e-7);
            Equal(BitConverter.SingleToUInt32Bits(1 / x), output[21][lane], "division", lane);
            Equal(BitConverter.SingleToUInt32Bits(MathF.Sqrt(x)), output[22][lane], "square root", lane);
            Equal(BitConverter.SingleToUInt32Bits(MathF.FusedMultiplyAdd(x, x, -(x * x)) + MathF.Round(x) + Math.Max(x, 9) + Math.Min(x, 9)), output[23][lane], "fma, rounding, maximum, minimum", lane);
            Equal(BitConverter.HalfToUInt16Bits((Half)x) | (input[Lanes * 7 + lane] & 0xFFFF) << 16, output[24][lane], "binary16", lane);
            Equal(BitConverter.HalfToUInt16Bits((Half)x) | (uint)BitConverter.HalfToUInt16Bits((Half)(-x * 1.0009765625f)) << 16, output[30][lane], "pack to binary16", lane);
            Equal((uint)(BitConverter.DoubleToUInt64Bits(x + 1) >> 32), output[25][lane], "binary64", lane);
        }
    }

    /// <summary>Words whose halves are small whole numbers in bfloat16 and whose last row is finite in binary16.</summary>
    private static uint[] Input()
    {
        var random = new Random(5);
        uint Half16() => BitConverter.SingleToUInt32Bits(random.Next(-9, 10)) >> 16;
        return [.. Enumerable.Range(0, 8 * Lanes).Select(i => i / Lanes == 7 ? (uint)random.Next(0x7C00) : Half16() | Half16() << 16)];
    }

    private static unsafe uint[][] Run(uint[] input)
    {
        CudaDevice device = CudaUnderTest.Device;
        device.MakeCurrent();
        using Stream text = typeof(PrimitiveTests).Assembly.GetManifestResourceStream("primitives.cu")!;
        var source = new KernelSource("primitives.cu", new StreamReader(text).ReadToEnd(), KernelSource.Read("rows.cu").Headers);
        nint module;
        fixed (byte* image = new KernelCompiler(device.Capability, new CubinCache(null)).Compile(source))
            device.Check(CudaDriver.ModuleLoad(&module, image, 0, null, null), "cuModuleLoadDataEx", "primitives");
        try
        {
            var kernel = new Kernel<Arguments>(device, module, "primitives");
            using CudaBackend backend = CudaUnderTest.Backend();
            using var stream = new CudaStream(device);
            Tensor from = backend.Allocate(DType.I32, 1, input.Length), to = backend.Allocate(DType.I32, Outputs, Lanes);
            backend.Upload(MemoryMarshal.AsBytes(input.AsSpan()), from);
            uint[] output = new uint[Outputs * Lanes];
            backend.Download(to, MemoryMarshal.AsBytes(output.AsSpan())); // waits for the upload: the kernel runs on a stream of its own
            kernel.Launch(stream, new Arguments { Input = CudaBackend.Address(from), Output = CudaBackend.Address(to) }, (1, 1, 1), Lanes);
            stream.Wait();
            backend.Download(to, MemoryMarshal.AsBytes(output.AsSpan()));
            return [.. Enumerable.Range(0, Outputs).Select(i => output.AsSpan(i * Lanes, Lanes).ToArray())];
        }
        finally
        {
            _ = CudaDriver.ModuleUnload(module);
        }
    }

    private static void Equal(uint expected, uint actual, string what, int lane) => Assert.True(expected == actual, $"{what}: lane {lane} has {actual:X8}, expected {expected:X8}.");

    private static float Bf16(uint half) => BitConverter.UInt32BitsToSingle(half << 16);

    private static uint Element(uint[] words, int row, int element) => (words[row * 4 + element / 2] >> (16 * (element % 2))) & 0xFFFF;

    private static uint Rounded(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Arguments
    {
        public ulong Input, Output;
    }
}
