// Numbers as Prometheus reads them (text format 0.0.4).
//
// Sixty lines instead of a client library: every number is a plain integer of
// the fleet loop and read when it is asked for, so there is nothing to register
// and nothing to keep twice.

#ifndef MUSTER_GATEWAY_ADMIN_METRICS_TEXT_H_
#define MUSTER_GATEWAY_ADMIN_METRICS_TEXT_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "gateway/fleet/counters.h"

namespace muster::gateway {

inline constexpr char kMetricsContentType[] =
    "text/plain; version=0.0.4; charset=utf-8";

// MetricsText writes one family after the other: Begin(), then its samples.
// Not thread-safe.
class MetricsText {
 public:
  // `help` is one line. A counter's name ends with _total.
  void Counter(std::string_view name, std::string_view help) {
    Begin(name, "counter", help);
  }
  void Gauge(std::string_view name, std::string_view help) {
    Begin(name, "gauge", help);
  }

  void Add(double value);
  void Add(std::string_view label, std::string_view label_value, double value);

  // Families of one sample.
  void Counter(std::string_view name, std::string_view help, double value) {
    Counter(name, help);
    Add(value);
  }
  void Gauge(std::string_view name, std::string_view help, double value) {
    Gauge(name, help);
    Add(value);
  }
  // A family of its own. In seconds.
  void Distribution(std::string_view name, std::string_view help,
                    const Histogram& histogram);

  std::string Take() { return std::move(text_); }

 private:
  void Begin(std::string_view name, std::string_view type,
             std::string_view help);

  std::string text_;
  std::string name_;  // Of the family that was begun.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_METRICS_TEXT_H_
