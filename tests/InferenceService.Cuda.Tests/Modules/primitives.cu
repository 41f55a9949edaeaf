// Every primitive of the prelude once, by one warp, so that a first run on a device names the one that is not what the emulation makes of it.
#include "prelude.cuh"

struct PrimitiveArgs { const u32* input; u32* output; };            // input: 256 words; output: 31 · 32

extern "C" __global__ void __launch_bounds__(32) primitives(PrimitiveArgs a) {
  __shared__ uint4 rows[32];
  __shared__ u64 sum;
  const int lane = threadIdx.x;
  const u32 (*words)[32] = (const u32 (*)[32])a.input;
  u32 (*out)[32] = (u32 (*)[32])a.output;
  const u32 left[4] = {words[0][lane], words[1][lane], words[2][lane], words[3][lane]};
  const float x = (float)(int)(words[6][lane] & 0xff) * 0.25f + 0.125f;
  kv_copy16(rows + lane, a.input + lane * 4);
  if (lane == 0) sum = 1;
  kv_copy_wait();
  __syncthreads();

  float product[4] = {1.f, 2.f, 3.f, 4.f};
  kv_mma_bf16(product, left, words[4][lane], words[5][lane]);
  float halves[4] = {1.f, 2.f, 3.f, 4.f};                           // the same small whole numbers
  u32 leftHalf[4];
  for (int i = 0; i < 4; i++) leftHalf[i] = kv_pack_half(kv_bits_float(left[i] << 16), kv_bits_float(left[i] & 0xffff0000u));
  kv_mma_half(halves, leftHalf, kv_pack_half(kv_bits_float(words[4][lane] << 16), kv_bits_float(words[4][lane] & 0xffff0000u)),
              kv_pack_half(kv_bits_float(words[5][lane] << 16), kv_bits_float(words[5][lane] & 0xffff0000u)));
  int dot[4] = {1, 2, 3, 4};
  kv_mma_bytes(dot, left, words[4][lane], words[5][lane]);
  u32 straight[4], turned[4];
  kv_matrices(straight, rows + lane);
  kv_matrices_turned(turned, rows + lane);
  kv_add_shared(&sum, 0x100000000ull + lane);
  __syncthreads();
  for (int i = 0; i < 4; i++) {
    out[i][lane] = kv_float_bits(product[i]);
    out[4 + i][lane] = (u32)dot[i];
    out[8 + i][lane] = straight[i];
    out[12 + i][lane] = turned[i];
    out[26 + i][lane] = kv_float_bits(halves[i]);
  }
  out[16][lane] = kv_shuffle_xor_bits(left[0], 5);
  out[17][lane] = kv_pack_bf16(x, -x * 1.00390625f);
  out[18][lane] = (u32)(sum >> 32);
  out[19][lane] = (u32)sum;
  out[20][lane] = kv_float_bits(kv_exp2(-x));
  out[21][lane] = kv_float_bits(kv_divide(1.f, x));
  out[22][lane] = kv_float_bits(kv_sqrt(x));
  out[23][lane] = kv_float_bits(kv_fma(x, x, -kv_multiply(x, x)) + kv_round(x) + kv_max(x, 9.f) + kv_min(x, 9.f));
  out[24][lane] = kv_half_of_number(x) | (u32)kv_to_half(kv_half_float((u16)words[7][lane])) << 16;
  out[30][lane] = kv_pack_half(x, -x * 1.0009765625f);
  out[25][lane] = (u32)(kv_double_bits(kv_bits_double(0x3ff0000000000000ull) * (x + 1)) >> 32);
}
