using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

// Only blittable signatures cross to native code, so nothing needs marshalling.
[assembly: DisableRuntimeMarshalling]

// The resolver decides where libraries come from; this only keeps the loader from looking beside the caller.
[assembly: DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
