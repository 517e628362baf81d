// Steps that take as long as a machine with company lets them: prints how many went which way.
#include <cstdio>

#include "pace.h"

namespace {

struct Machine {
  double alone, shared;  // seconds of a step
};

native::Pace pace;

// How many of `steps` were shared, and at which step the first was.
void run(const char* when, Machine machine, int steps) {
  int shared = 0, first = -1;
  for (int step = 0; step < steps; step++) {
    const bool is_shared = pace.next();
    pace.took(is_shared, is_shared ? machine.shared : machine.alone);
    shared += is_shared;
    if (is_shared && first < 0) first = step;
  }
  std::printf("%s %d %d\n", when, shared, first);
}

}  // namespace

int main() {
  run("beginning", {1, 2.5}, 64);
  run("company", {1, 2.5}, 4096);
  run("left", {1, 0.5}, 512);
  run("quiet", {1, 0.5}, 4096);
  run("returned", {1, 40}, 512);
  run("left-again", {1, 0.5}, 512);
}
