// A stand-in for cuBLASLt: one naive product, column-major as the original, sums in binary64. Refuses 16-bit operands that are not aligned
// to 16 bytes, which the original would multiply slowly or not at all.
#include "streams.h"
#include "injection.h"
#include <cmath>
#include <cstring>

namespace {
enum { Success = 0, InvalidValue = 7, NotSupported = 15 };
struct Description { int compute, scale, left = 0, right = 0; };
struct Layout { int type; u64 rows, columns; i64 stride; };
struct Preference { u64 workspace = 0; };

double at(const Layout& l, const void* p, u64 row, u64 column) {
  const u64 i = column * l.stride + row;
  if (l.type == 0) return ((const float*)p)[i];
  if (l.type == 2) return (double)((const _Float16*)p)[i];
  const u32 bits = (u32)((const u16*)p)[i] << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
bool aligned(const Layout& l, const void* p) { return l.type == 0 || ((u64)p % 16 == 0 && l.stride % 8 == 0); }
bool known(const Layout& l) { return l.type == 0 || l.type == 2 || l.type == 14; }
}

extern "C" {
int cublasLtCreate(void** handle) { INJECTABLE("cublasLtCreate") *handle = new int(1); return Success; }
int cublasLtDestroy(void* handle) { delete (int*)handle; return Success; }
size_t cublasLtGetVersion() { return 130000; }
int cublasLtMatmulDescCreate(Description** d, int compute, int scale) { *d = new Description{compute, scale}; return compute == 68 && scale == 0 ? Success : NotSupported; }
int cublasLtMatmulDescDestroy(Description* d) { delete d; return Success; }
int cublasLtMatmulDescSetAttribute(Description* d, int attribute, const void* value, size_t bytes) {
  if (bytes != 4) return InvalidValue;
  if (attribute == 3) memcpy(&d->left, value, 4);
  else if (attribute == 4) memcpy(&d->right, value, 4);
  else return NotSupported;
  return Success;
}
int cublasLtMatrixLayoutCreate(Layout** l, int type, u64 rows, u64 columns, i64 stride) { *l = new Layout{type, rows, columns, stride}; return stride >= (i64)rows ? Success : InvalidValue; }
int cublasLtMatrixLayoutDestroy(Layout* l) { delete l; return Success; }
int cublasLtMatmulPreferenceCreate(Preference** p) { *p = new Preference; return Success; }
int cublasLtMatmulPreferenceDestroy(Preference* p) { delete p; return Success; }
int cublasLtMatmulPreferenceSetAttribute(Preference* p, int attribute, const void* value, size_t bytes) {
  if (attribute == 1 && bytes == 8) memcpy(&p->workspace, value, 8);
  return Success;
}
struct Algorithm { u64 data[8]; };
struct Heuristic { Algorithm algorithm; u64 workspace; int state; float waves; int reserved[4]; };
int cublasLtMatmulAlgoGetHeuristic(void*, Description* d, Layout* a, Layout* b, Layout* c, Layout* out, Preference* p, int requested, Heuristic* results, int* count) {
  *count = 0;
  if (requested < 1 || !known(*a) || !known(*b) || a->type != b->type || c->type != 0 || out->type != 0 || d->compute != 68) return NotSupported;
  memset(results, 0, sizeof *results);
  results->algorithm.data[0] = 42;
  results->workspace = p->workspace < 1024 ? 0 : 1024;
  *count = 1;
  return Success;
}
int cublasLtMatmul(void* handle, Description* d, const float* alpha, const void* a, Layout* la, const void* b, Layout* lb, const float* beta, const void* c, Layout*,
                   void* out, Layout* lout, const Algorithm* algorithm, void* workspace, size_t workspaceBytes, Stream* stream) {
  INJECTABLE("cublasLtMatmul")
  if (!handle || !algorithm || algorithm->data[0] != 42 || !aligned(*la, a) || !aligned(*lb, b)) return NotSupported;
  if (workspaceBytes && !is_device_memory((u64)workspace, workspaceBytes)) return InvalidValue;
  const Layout A = *la, B = *lb, D = *lout;
  const bool left = d->left != 0, right = d->right != 0;
  const u64 rows = left ? A.columns : A.rows, inner = left ? A.rows : A.columns, columns = right ? B.rows : B.columns;
  if (rows != D.rows || columns != D.columns || inner != (right ? B.columns : B.rows)) return InvalidValue;
  const float x = *alpha, y = *beta;
  return enqueue_work(stream, [=] {
    for (u64 j = 0; j < columns; j++)
      for (u64 i = 0; i < rows; i++) {
        double sum = 0;
        for (u64 k = 0; k < inner; k++) sum += at(A, a, left ? k : i, left ? i : k) * at(B, b, right ? j : k, right ? k : j);
        const float before = y == 0 ? 0 : ((const float*)c)[j * D.stride + i];
        ((float*)out)[j * D.stride + i] = (float)(x * sum + y * before);
      }
  });
}
}
