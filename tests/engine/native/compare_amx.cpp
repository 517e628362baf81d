// Runs the products of AMX on a processor without it: each of its instructions ends in a signal, whose handler decodes it and
// does what Intel's manual says. Compares the results with those of the same products with the instructions written out.
#include <signal.h>
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "abi.h"
#include "gemm.h"

using namespace native;

namespace {

constexpr int kRows = 16, kRowBytes = 64;

uint8_t tiles[8][kRows * kRowBytes];
uint8_t configuration[64];
bool configured = false;
long emulated = 0;

[[noreturn]] void refuse(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::_Exit(2);
}

uint64_t general(const ucontext_t& context, int number) {
  static const int kOrder[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return static_cast<uint64_t>(context.uc_mcontext.gregs[kOrder[number]]);
}

// An operand in memory behind its ModRM byte: the address, what lies between two rows, and where the instruction ends.
struct Place {
  uint8_t* address;
  int64_t stride;
  const uint8_t* end;
};

Place place_of(const ucontext_t& context, const uint8_t* modrm, bool extended_index, bool extended_base) {
  const int mod = *modrm >> 6, rm = *modrm & 7;
  const uint8_t* next = modrm + 1;
  uint64_t address = 0;
  int64_t stride = 0;
  bool wide = mod == 2, relative = false;
  if (rm == 4) {
    const int index = (*next >> 3 & 7) | (extended_index ? 8 : 0), base = *next & 7;
    if (index != 4) stride = static_cast<int64_t>(general(context, index)) << (*next >> 6);
    if (mod == 0 && base == 5) {
      wide = true;
    } else {
      address = general(context, base | (extended_base ? 8 : 0));
    }
    next++;
  } else if (mod == 0 && rm == 5) {
    wide = relative = true;
  } else {
    address = general(context, rm | (extended_base ? 8 : 0));
  }
  if (wide) {
    int32_t by;
    std::memcpy(&by, next, 4);
    address += static_cast<uint64_t>(static_cast<int64_t>(by));
    next += 4;
  } else if (mod == 1) {
    address += static_cast<uint64_t>(static_cast<int64_t>(static_cast<int8_t>(*next++)));
  }
  if (relative) address += reinterpret_cast<uint64_t>(next);
  return {reinterpret_cast<uint8_t*>(address), stride, next};
}

float number(const uint8_t* tile, int row, int index) {
  uint16_t half;
  std::memcpy(&half, tile + row * kRowBytes + 2 * index, 2);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void dot(uint8_t* c, const uint8_t* a, const uint8_t* b, int rows) {
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < 16; n++) {
      float sum;
      std::memcpy(&sum, c + m * kRowBytes + 4 * n, 4);
      for (int k = 0; k < 16; k++) {
        for (int pair = 0; pair < 2; pair++) sum += number(a, m, 2 * k + pair) * number(b, k, 2 * n + pair);
      }
      std::memcpy(c + m * kRowBytes + 4 * n, &sum, 4);
    }
  }
}

int rows_of(int tile) { return configuration[48 + tile]; }

// Palette 1, and tiles of at most 16 rows of 64 bytes: the only configurations that the products ask for.
void configure(const uint8_t* from) {
  std::memcpy(configuration, from, sizeof configuration);
  if (configuration[0] != 1 || configuration[1] != 0) refuse("another palette");
  for (int t = 0; t < 8; t++) {
    if (configuration[16 + 2 * t] != kRowBytes || configuration[17 + 2 * t] != 0 || rows_of(t) < 1 || rows_of(t) > kRows) {
      refuse("another size of tiles");
    }
  }
  configured = true;
  std::memset(tiles, 0, sizeof tiles);
}

void move_rows(const Place& place, int number, bool into_memory) {
  for (int row = 0; row < rows_of(number); row++) {
    uint8_t* const tile = tiles[number];
    uint8_t* memory = place.address + row * place.stride;
    std::memcpy(into_memory ? memory : tile + row * kRowBytes, into_memory ? tile + row * kRowBytes : memory, kRowBytes);
  }
}

// VEX: C4, then inverted R X B and the map, then W, inverted vvvv, L and the prefix; opcode; ModRM.
void emulate(int, siginfo_t*, void* where) {
  ucontext_t& context = *static_cast<ucontext_t*>(where);
  const auto* code = reinterpret_cast<const uint8_t*>(context.uc_mcontext.gregs[REG_RIP]);
  if (code[0] != 0xc4 || (code[1] & 0x1f) != 2) refuse("not an instruction of AMX");
  const bool extended_index = (code[1] & 0x40) == 0, extended_base = (code[1] & 0x20) == 0;
  const int prefix = code[2] & 3, second = ~(code[2] >> 3) & 15;
  const int opcode = code[3], reg = code[4] >> 3 & 7, rm = code[4] & 7;
  const bool registers = code[4] >> 6 == 3;
  const uint8_t* end = code + 5;
  const bool begins = opcode == 0x49 && prefix == 0 && !registers;
  if (!begins && !configured) refuse("tiles that are not configured");
  if (begins) {
    const Place place = place_of(context, code + 4, extended_index, extended_base);
    configure(place.address);
    end = place.end;
  } else if (opcode == 0x49 && prefix == 0) {
    configured = false;
  } else if (opcode == 0x49 && prefix == 3 && registers) {
    std::memset(tiles[reg], 0, sizeof tiles[reg]);
  } else if (opcode == 0x4b && (prefix == 3 || prefix == 2)) {
    const Place place = place_of(context, code + 4, extended_index, extended_base);
    move_rows(place, reg, prefix == 2);
    end = place.end;
  } else if (opcode == 0x5c && prefix == 2 && registers) {
    if (rows_of(reg) != rows_of(rm) || rows_of(second) != kRows) refuse("tiles that do not fit together");
    dot(tiles[reg], tiles[rm], tiles[second], rows_of(reg));
  } else {
    refuse("an instruction of AMX that the products do not have");
  }
  emulated++;
  context.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(end);
}

float random_number() { return static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) * 2 - 1; }

std::vector<float> product(const Gemm& gemm, Kind kind, const uint8_t* w, int64_t columns, int32_t tokens,
                           const std::vector<float>& x) {
  const size_t row_bytes = gemm.row_bytes(kind, columns), panel_bytes = gemm.panel_bytes(kind, columns);
  auto* packed = static_cast<uint8_t*>(std::aligned_alloc(64, round_up(static_cast<int64_t>(row_bytes) * (tokens + 16), 64)));
  auto* panel = static_cast<uint8_t*>(std::aligned_alloc(64, panel_bytes + 64));
  std::memset(packed, 0xff, row_bytes * static_cast<size_t>(tokens + 16));
  for (int32_t tile = 0; tile < tile_count(tokens, gemm.tile); tile++) {
    const int32_t first = tile_begin(tokens, gemm.tile, tile), end = tile_begin(tokens, gemm.tile, tile + 1);
    const float* rows[64];
    for (int32_t t = first; t < end; t++) rows[t - first] = x.data() + t * columns;
    gemm.pack(kind, rows, end - first, columns, packed + static_cast<size_t>(first) * row_bytes);
  }
  const uint8_t* const groups[2] = {w, w + group_bytes(kind, columns)};
  const float bias[kStrip] = {};
  std::vector<float> y(static_cast<size_t>(tokens) * kStrip);
  const Output output{y.data(), kStrip, bias, kStrip, false, 0.0f};
  gemm.multiply(kind, gemm.unpack(kind, groups, columns, panel), columns, packed, tokens, output, {});
  std::free(packed);
  std::free(panel);
  return y;
}

// Attention of some tokens after 150 others, in a window.
std::vector<float> attended(const Attention& attention, const std::vector<uint16_t>& memory, int32_t tokens,
                            const std::vector<float>& query) {
  constexpr int32_t kHeads = 8, kDim = 32, kPast = 150;
  const std::vector<float> sinks(kHeads, 0.5f);
  std::vector<float> out(query.size());
  const ChunkAttention chunk{memory.data(), memory.data() + memory.size() / 2, 0, false, kPast, 140, tokens, kHeads, 1,
                             kDim, sinks.data(), query.data(), kHeads * kDim, out.data(), kHeads * kDim};
  void* scratch = std::aligned_alloc(64, attention.bytes);
  std::memset(scratch, 0xff, attention.bytes);
  attention.tile(chunk, 0, 0, tokens, scratch);
  std::free(scratch);
  return out;
}

bool report(const char* name, int32_t tokens, long before, const std::vector<float>& got,
            const std::vector<float>& expected) {
  const bool same = std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0;
  std::printf("%s %d tokens: %ld instructions, %s\n", name, tokens, emulated - before, same ? "same" : "other");
  return same;
}

}  // namespace

int main() {
  struct sigaction action = {};
  action.sa_sigaction = emulate;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
  std::srand(1);
  constexpr int64_t kColumns = 352;  // more than one stretch
  std::vector<uint16_t> source(kStrip * kColumns);
  for (uint16_t& value : source) {
    const float number = random_number();
    uint32_t bits;
    std::memcpy(&bits, &number, 4);
    value = static_cast<uint16_t>(bits >> 16);
  }
  auto* w = static_cast<uint8_t*>(std::aligned_alloc(64, gt_packed_bytes(1, kStrip, kColumns)));
  gt_pack_bf16(source.data(), kStrip, kColumns, w);
  int wrong = 0;
  for (const int32_t tokens : {1, 16, 17, 40}) {
    std::vector<float> x(static_cast<size_t>(tokens * kColumns));
    for (float& value : x) value = random_number();
    const Gemm* const pairs[2][2] = {{kTilesAmx, kTilesWritten}, {kSplitTilesAmx, kSplitTilesWritten}};
    for (const auto& [amx, written] : pairs) {
      const long before = emulated;
      const auto got = product(*amx, Kind::kBf16, w, kColumns, tokens, x);
      const auto expected = product(*written, Kind::kBf16, w, kColumns, tokens, x);
      wrong += !report(amx->name, tokens, before, got, expected);
    }
  }
  for (const int32_t tokens : {1, 6}) {  // half a tile of queries; a band of two tiles and one of one
    const std::vector<uint16_t> memory(source.begin(), source.begin() + 2 * 32 * 157);
    std::vector<float> query(static_cast<size_t>(tokens) * 8 * 32);
    for (float& value : query) value = random_number();
    const long before = emulated;
    const auto got = attended(*kAttentionAmx, memory, tokens, query);
    wrong += !report("attention", tokens, before, got, attended(*kAttentionWritten, memory, tokens, query));
    const long middle = emulated;
    const auto split = attended(*kSplitAttentionAmx, memory, tokens, query);
    wrong += !report("split-attention", tokens, middle, split, attended(*kSplitAttentionWritten, memory, tokens, query));
  }
  std::free(w);
  return wrong;
}
