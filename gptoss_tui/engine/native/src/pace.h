// Decides which of two ways of doing the same work is faster, where that depends on what else the machine is doing.
#pragma once

#include <chrono>
#include <cstdint>

namespace native {

// Decides by recent times whether all threads share a step or the caller runs it alone. This is for steps with layers
// so small that threads spend about as much time waiting for each other as working, or much more on a busy machine.
class Pace {
 public:
  // Runs `work(shared)` the way that was faster lately, and now and then the other way.
  template <typename Work>
  void timed(Work work) {
    const bool shared = next();
    const auto start = std::chrono::steady_clock::now();
    work(shared);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    took(shared, passed.count());
  }

  // Whether the next step should be shared.
  bool next() { return usual() != (--left_ == 0); }

  // Records the time of the step that `next` decided. As long as the other way is faster, it is tried again until it
  // becomes the usual one; each time that it is not, twice as many steps pass before the next try.
  void took(bool shared, double seconds) {
    const bool before = usual();
    const bool tried = shared != before, faster = seconds < (before ? shared_ : alone_);
    double& lately = shared ? shared_ : alone_;
    lately += (seconds - lately) * kWeight;
    if (usual() != before) {
      left_ = wait_ = kShortestWait;
    } else if (tried) {
      if (!faster && wait_ < kLongestWait) wait_ *= 2;
      left_ = faster ? 1 : wait_;
    }
  }

 private:
  static constexpr uint32_t kShortestWait = 16, kLongestWait = 256;  // steps
  static constexpr double kWeight = 0.25;

  bool usual() const { return shared_ < alone_; }

  double shared_ = 0, alone_ = 0;  // seconds, a running mean of the last few
  uint32_t wait_ = kShortestWait, left_ = kShortestWait;
};

}  // namespace native
