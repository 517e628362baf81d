// Which of two ways of doing the same work goes faster, where that changes with what else runs on the machine.
#pragma once

#include <chrono>
#include <cstdint>

namespace native {

// Of a step whose layers are so small that threads wait for each other about as long as they work, or much longer where
// others need the processors: whether all threads share it or the caller runs it alone goes by how long both took.
class Pace {
 public:
  // Runs `work(shared)` the way that was faster lately, now and then the other way.
  template <typename Work>
  void timed(Work work) {
    const bool shared = next();
    const auto start = std::chrono::steady_clock::now();
    work(shared);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    took(shared, passed.count());
  }

  // Whether the next step is to be shared.
  bool next() { return usual() != (--left_ == 0); }

  // How long the step took that `next` told of. While the other way goes faster it is tried on, until it is the usual
  // one; each time that it does not, twice as many steps pass before it is tried again.
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
