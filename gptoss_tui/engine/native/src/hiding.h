// While an object of this class lives, forbidden rows count as having no ids that may be sampled.
#pragma once

#include "model.h"

namespace native {

class Hiding {
 public:
  Hiding(const gt_model& model, const gt_draw& draw) : used_(const_cast<float*>(model.top.used)), draw_(draw) {
    if (draw.forbidden_count < 0 || draw.forbidden_count > GT_MOST_FORBIDDEN) return;
    for (int32_t i = 0; i < draw.forbidden_count; i++) {
      if (draw.forbidden[i] < 0 || draw.forbidden[i] >= model.distinct) return;
    }
    for (; hidden_ < draw.forbidden_count; hidden_++) {
      float& used = used_[draw.forbidden[hidden_]];
      before_[hidden_] = used;
      used = 0;
    }
  }
  ~Hiding() {
    while (hidden_-- > 0) used_[draw_.forbidden[hidden_]] = before_[hidden_];
  }
  Hiding(const Hiding&) = delete;
  Hiding& operator=(const Hiding&) = delete;

  // Whether all forbidden rows exist in the model, and so are hidden.
  bool done() const { return hidden_ == draw_.forbidden_count; }

 private:
  float* used_;
  const gt_draw& draw_;
  int32_t hidden_ = 0;
  float before_[GT_MOST_FORBIDDEN];
};

}  // namespace native
