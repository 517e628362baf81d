// Prefill: products of a chunk of tokens with dense matrices and with the experts that they chose. All threads pack the
// activations once; then each thread takes strips of the matrices, one at a time, unpacks them and multiplies.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "gemm.h"

namespace native {

#ifndef NATIVE_AVX2
const Gemm* const kFloatAvx2 = nullptr;
const Gemm* const kBytesAvx2 = nullptr;
const Gemm* const kWordsAvx2 = nullptr;
const Attention* const kAttentionAvx2 = nullptr;
#endif
#ifndef NATIVE_AVX512
const Gemm* const kFloatAvx512 = nullptr;
const Gemm* const kBytesAvx512 = nullptr;
const Attention* const kAttentionAvx512 = nullptr;
#endif
#ifndef NATIVE_DOTPROD
const Gemm* const kBytesDotprod = nullptr;
#endif
#ifndef NATIVE_I8MM
const Gemm* const kBytesI8mm = nullptr;
#endif
#ifndef NATIVE_BF16
const Gemm* const kPairsBf16 = nullptr;
const Gemm* const kSplitBf16 = nullptr;
const Gemm* const kTilesWritten = nullptr;
const Gemm* const kSplitTilesWritten = nullptr;
const Attention* const kAttentionBf16 = nullptr;
const Attention* const kAttentionWritten = nullptr;
const Attention* const kSplitAttentionWritten = nullptr;
#endif
#ifndef NATIVE_AMX
const Gemm* const kTilesAmx = nullptr;
const Gemm* const kSplitTilesAmx = nullptr;
const Attention* const kAttentionAmx = nullptr;
const Attention* const kSplitAttentionAmx = nullptr;
#endif

namespace {

constexpr int kPackedSlot = 2, kPanelSlot = 3;  // of the pool's scratch memory
constexpr int kMostTile = 64;

// Rows of activations that each strip of an expert is multiplied by at once.
struct Batch {
  int32_t expert, begin, count;
};

// A product of one matrix, or of one for each expert, with rows of activations. Row i of expert e's rows is
// x + source[i] * x_stride (or row i itself if source is null), and its result goes to row i of y.
struct Product {
  const Gemm* gemm;
  Pool* pool;
  const Matrix* w;
  const int32_t* first;  // [experts + 1]
  const int32_t* source;
  const float* x;
  int64_t x_stride;
  float* y;
  int64_t y_stride;
  bool swiglu;
  float limit;

  std::vector<Batch> batches{};
  size_t row_bytes = 0;
  uint8_t* packed = nullptr;
  uint8_t* lost = nullptr;  // nonzero: the row's products are NaN
  std::atomic<int64_t> next_tile{0}, next_strip{0};
  std::atomic<bool> any_lost{false};
};

int64_t strips_of(const Matrix& w) { return (w.rows / kGroup + 1) / 2; }

void pack_tiles(Product& p) {
  // Tiles are numbered across all batches; each thread walks through them and packs those whose numbers it drew.
  int64_t drawn = p.next_tile.fetch_add(1, std::memory_order_relaxed), passed = 0;
  for (const Batch& batch : p.batches) {
    const int32_t tiles = tile_count(batch.count, p.gemm->tile);
    while (drawn < passed + tiles) {
      const int32_t tile = static_cast<int32_t>(drawn - passed);
      const int32_t top = batch.begin + tile_begin(batch.count, p.gemm->tile, tile);
      const int32_t end = batch.begin + tile_begin(batch.count, p.gemm->tile, tile + 1);
      const float* rows[kMostTile];
      for (int32_t i = top; i < end; i++) rows[i - top] = p.x + (p.source ? p.source[i] : i) * p.x_stride;
      uint8_t* to = p.packed + static_cast<size_t>(top) * p.row_bytes;
      const uint64_t lost = p.gemm->pack(p.w->kind, rows, end - top, p.w->columns, to);
      for (int32_t i = top; i < end; i++) p.lost[i] = lost >> (i - top) & 1;
      if (lost != 0) p.any_lost.store(true, std::memory_order_relaxed);
      drawn = p.next_tile.fetch_add(1, std::memory_order_relaxed);
    }
    passed += tiles;
  }
}

// A strip that a batch is multiplied by; without a batch, there are no more.
struct Task {
  const Batch* batch = nullptr;
  int64_t strip = 0;
};

// Strips are numbered across all batches; each thread draws the next number.
Task next_task(Product& p) {
  const int64_t drawn = p.next_strip.fetch_add(1, std::memory_order_relaxed), strips = strips_of(*p.w);
  const auto batch = static_cast<size_t>(drawn / strips);
  if (batch >= p.batches.size()) return {};
  return {&p.batches[batch], drawn % strips};
}

const uint8_t* weights_of(const Product& p, const Task& task) {
  return p.w->data + task.batch->expert * p.w->matrix_bytes + 2 * task.strip * p.w->group_bytes;
}

void multiply_strip(Product& p, const Task& task, void* panel, const Ahead& ahead) {
  const Matrix& w = *p.w;
  const auto [expert, begin, count] = *task.batch;
  const uint8_t* data = weights_of(p, task);
  const bool whole = 2 * task.strip + 1 < w.rows / kGroup;
  // Half a strip is multiplied as if it had its group twice.
  const uint8_t* const pair[2] = {data, whole ? data + w.group_bytes : data};
  alignas(64) float bias[kStrip] = {};
  if (w.bias != nullptr) {
    const float* from = w.bias + expert * w.rows + task.strip * kStrip;
    for (int i = 0; i < (whole ? kStrip : kGroup); i++) bias[i] = from[i];
  }
  Output output;
  output.y = p.y + begin * p.y_stride + task.strip * (p.swiglu ? kGroup : kStrip);
  output.stride = p.y_stride;
  output.bias = bias;
  output.columns = whole ? kStrip : kGroup;
  output.swiglu = p.swiglu;
  output.limit = p.limit;
  const Strip ready = p.gemm->unpack(w.kind, pair, w.columns, panel);
  const uint8_t* packed = p.packed + static_cast<size_t>(begin) * p.row_bytes;
  p.gemm->multiply(w.kind, ready, w.columns, packed, count, output, ahead);
  if (p.any_lost.load(std::memory_order_relaxed)) {
    for (int32_t t = 0; t < count; t++) {
      if (p.lost[begin + t]) std::fill_n(output.y + t * output.stride, p.swiglu ? kGroup : output.columns, NAN);
    }
  }
}

void multiply_strips(Product& p, void* panel) {
  for (Task task = next_task(p), next; task.batch != nullptr; task = next) {
    next = next_task(p);
    Ahead ahead{};
    if (next.batch != nullptr) {
      const bool whole = 2 * next.strip + 1 < p.w->rows / kGroup;
      ahead.at = weights_of(p, next);
      ahead.end = ahead.at + (whole ? 2 : 1) * p.w->group_bytes;
    }
    multiply_strip(p, task, panel, ahead);
  }
}

void run_product(void* context, int thread, int) {
  Product& p = *static_cast<Product*>(context);
  void* panel = pool_scratch(p.pool, thread, kPanelSlot, p.gemm->panel_bytes(p.w->kind, p.w->columns));
  pack_tiles(p);
  pool_barrier(p.pool);
  multiply_strips(p, panel);
}

// Packed tiles may be read past the last row, by less than a tile.
void start(Product& p, int32_t rows) {
  for (int32_t e = 0; e < p.w->experts; e++) {
    const int32_t first = p.first[e], count = p.first[e + 1] - first;
    for (int32_t i = 0; i < tile_count(count, p.gemm->most); i++) {
      const int32_t begin = tile_begin(count, p.gemm->most, i);
      p.batches.push_back({e, first + begin, tile_begin(count, p.gemm->most, i + 1) - begin});
    }
  }
  p.row_bytes = p.gemm->row_bytes(p.w->kind, p.w->columns);
  const size_t bytes = static_cast<size_t>(rows + p.gemm->tile) * p.row_bytes;
  p.packed = static_cast<uint8_t*>(pool_scratch(p.pool, 0, kPackedSlot, bytes + static_cast<size_t>(rows)));
  p.lost = p.packed + bytes;
  pool_run(p.pool, run_product, &p);
}

struct Attending {
  const Attention* attention;
  Pool* pool;
  const ChunkAttention* chunk;
  std::atomic<int32_t> next{0};
};

// Tiles are taken from the end of the chunk, where tokens see most keys, so that the last ones are small.
void run_attention(void* context, int thread, int) {
  Attending& a = *static_cast<Attending*>(context);
  const ChunkAttention& c = *a.chunk;
  void* memory = pool_scratch(a.pool, thread, kPanelSlot, a.attention->bytes);
  const int32_t height = kMostTileRows / (c.heads / c.kv_heads);
  const int32_t tiles = tile_count(c.tokens, height);
  for (;;) {
    const int32_t drawn = a.next.fetch_add(1, std::memory_order_relaxed);
    if (drawn >= tiles * c.kv_heads) return;
    const int32_t tile = tiles - 1 - drawn / c.kv_heads;
    const int32_t first = tile_begin(c.tokens, height, tile);
    a.attention->tile(c, drawn % c.kv_heads, first, tile_begin(c.tokens, height, tile + 1) - first, memory);
  }
}

// Dense matrices of up to this many rows are multiplied exactly: the router's choice must not depend on rounding.
constexpr int64_t kFewRows = 256;

// The fastest table for a kind of matrix and an instruction set among those that were built. Int8 weights have more
// bits than bf16, so their exact products are in float32.
const Gemm* choose(Isa isa, Precision precision, Kind kind, bool written) {
  const bool fast = precision == Precision::kFast;
  if (written && (fast || kind != Kind::kInt8)) return fast ? kTilesWritten : kSplitTilesWritten;
  const Gemm* wanted[4] = {};
  int count = 0;
  switch (isa) {
    case Isa::kAmx:
      if (fast || kind != Kind::kInt8) wanted[count++] = fast ? kTilesAmx : kSplitTilesAmx;
      [[fallthrough]];
    case Isa::kAvx512Bf16:
      if (fast && kind != Kind::kBf16) wanted[count++] = kBytesAvx512;
      if (kind != Kind::kInt8) wanted[count++] = fast ? kPairsBf16 : kSplitBf16;
      wanted[count++] = kFloatAvx512;
      break;
    case Isa::kAvx512:
      if (fast && kind != Kind::kBf16) wanted[count++] = kBytesAvx512;
      wanted[count++] = kFloatAvx512;
      break;
    case Isa::kAvx2:
      if (fast && kind == Kind::kMxfp4) wanted[count++] = kBytesAvx2;
      if (fast && kind == Kind::kInt8) wanted[count++] = kWordsAvx2;
      wanted[count++] = kFloatAvx2;
      break;
    case Isa::kNeonI8mm:
      if (fast && kind != Kind::kBf16) wanted[count++] = kBytesI8mm;
      [[fallthrough]];
    case Isa::kNeon:
      if (fast && kind != Kind::kBf16) wanted[count++] = kBytesDotprod;
      break;
    default: break;
  }
  for (int i = 0; i < count; i++) {
    if (wanted[i] != nullptr) return wanted[i];
  }
  return kFloatScalar;
}

const Attention* choose_attention(Isa isa, Precision precision, bool wide, bool written) {
  const bool fast = precision == Precision::kFast;
  const Attention* chosen = nullptr;
  if (written && !wide) chosen = fast ? kAttentionWritten : kSplitAttentionWritten;
  if (chosen == nullptr && isa == Isa::kAmx && !wide) chosen = fast ? kAttentionAmx : kSplitAttentionAmx;
  const bool bf16 = isa == Isa::kAmx || isa == Isa::kAvx512Bf16;
  if (chosen == nullptr && bf16 && fast && !wide) chosen = kAttentionBf16;
  if (chosen == nullptr && (bf16 || isa == Isa::kAvx512)) chosen = kAttentionAvx512;
  if (chosen == nullptr && isa == Isa::kAvx2) chosen = kAttentionAvx2;
  return chosen == nullptr ? kAttentionScalar : chosen;
}

template <Isa isa, Precision precision, bool written>
void dense(Pool* pool, const Matrix& w, const float* x, int64_t x_stride, int32_t tokens, float* y, int64_t y_stride) {
  const int32_t first[2] = {0, tokens};
  const Gemm* gemm = choose(isa, w.rows <= kFewRows ? Precision::kExact : precision, w.kind, written);
  Product p{gemm, pool, &w, first, nullptr, x, x_stride, y, y_stride, false, 0.0f};
  start(p, tokens);
}

template <Isa isa, Precision precision, bool written>
void experts_up(Pool* pool, const Matrix& w, const Routing& routing, const float* x, int64_t x_stride, float* h,
                int64_t h_stride, float limit) {
  const Gemm* gemm = choose(isa, precision, w.kind, written);
  Product p{gemm, pool, &w, routing.first, routing.token, x, x_stride, h, h_stride, true, limit};
  start(p, routing.tokens * routing.per_token);
}

template <Isa isa, Precision precision, bool written>
void experts_down(Pool* pool, const Matrix& w, const Routing& routing, const float* h, int64_t h_stride, float* y,
                  int64_t y_stride) {
  const Gemm* gemm = choose(isa, precision, w.kind, written);
  Product p{gemm, pool, &w, routing.first, nullptr, h, h_stride, y, y_stride, false, 0.0f};
  start(p, routing.tokens * routing.per_token);
}

template <Isa isa, Precision precision, bool written>
void attend(Pool* pool, const ChunkAttention& chunk) {
  Attending attending{choose_attention(isa, precision, chunk.wide, written), pool, &chunk};
  pool_run(pool, run_attention, &attending);
}

template <Isa isa, Precision precision, bool written>
int64_t peak(Kind kind, int64_t steps) {
  return choose(isa, precision, kind, written)->peak(steps);
}

template <Isa isa, Precision precision, bool written = false>
constexpr PrefillKernels table(const char* name) {
  return {name, dense<isa, precision, written>, experts_up<isa, precision, written>,
          experts_down<isa, precision, written>, attend<isa, precision, written>,
          peak<isa, precision, written>};
}

constexpr auto kExact = Precision::kExact, kFast = Precision::kFast;

}  // namespace

const PrefillKernels* written_kernels(Precision precision) {
  static constexpr PrefillKernels kWritten[2] = {table<Isa::kAmx, kExact, true>("two bf16, written tiles"),
                                                 table<Isa::kAmx, kFast, true>("bf16, written tiles")};
  return kTilesWritten == nullptr ? nullptr : &kWritten[precision == kFast];
}

const PrefillKernels* prefill_kernels(Isa isa, Precision precision) {
  static constexpr PrefillKernels kScalar = table<Isa::kScalar, kExact>("float");
  static constexpr PrefillKernels kAvx2[2] = {table<Isa::kAvx2, kExact>("float, AVX2"),
                                              table<Isa::kAvx2, kFast>("int8 and int16, AVX2")};
  static constexpr PrefillKernels kAvx512[2] = {table<Isa::kAvx512, kExact>("float, AVX-512"),
                                                table<Isa::kAvx512, kFast>("int8, AVX-512 VNNI")};
  static constexpr PrefillKernels kAmx[2] = {table<Isa::kAmx, kExact>("two bf16, AMX"),
                                             table<Isa::kAmx, kFast>("bf16, AMX")};
  static constexpr PrefillKernels kBf16[2] = {table<Isa::kAvx512Bf16, kExact>("two bf16, AVX-512 BF16"),
                                              table<Isa::kAvx512Bf16, kFast>("int8 and bf16, AVX-512")};
  static constexpr PrefillKernels kNeon[2] = {table<Isa::kNeon, kExact>("float, NEON"),
                                              table<Isa::kNeon, kFast>("int8 and float, NEON")};
  static constexpr PrefillKernels kI8mm[2] = {table<Isa::kNeonI8mm, kExact>("float, NEON"),
                                              table<Isa::kNeonI8mm, kFast>("int8 and float, NEON with i8mm")};
  const int fast = precision == kFast;
  switch (isa) {
    case Isa::kAmx: return &kAmx[fast];
    case Isa::kAvx512Bf16: return &kBf16[fast];
    case Isa::kAvx512: return &kAvx512[fast];
    case Isa::kAvx2: return &kAvx2[fast];
    case Isa::kNeon: return &kNeon[fast];
    case Isa::kNeonI8mm: return &kI8mm[fast];
    default: return &kScalar;
  }
}

}  // namespace native
