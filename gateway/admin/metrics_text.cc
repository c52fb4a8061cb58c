#include "gateway/admin/metrics_text.h"

#include <iterator>

#include "fmt/format.h"

namespace muster::gateway {
namespace {

// Of a label's value, between its quotes.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

void MetricsText::Begin(std::string_view name, std::string_view type,
                        std::string_view help) {
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {0} {1}\n# TYPE {0} {2}\n",
                 name, help, type);
}

void MetricsText::Add(double value) {
  fmt::format_to(std::back_inserter(text_), "{} {}\n", name_, value);
}

void MetricsText::Add(std::string_view label, std::string_view label_value,
                      double value) {
  fmt::format_to(std::back_inserter(text_), "{}{{{}=\"{}\"}} {}\n", name_,
                 label, Escaped(label_value), value);
}

void MetricsText::Distribution(std::string_view name, std::string_view help,
                               const Histogram& histogram) {
  Begin(name, "histogram", help);
  const auto out = std::back_inserter(text_);
  uint64_t below = 0;
  for (size_t i = 0; i < Histogram::kBounds.size(); ++i) {
    below += histogram.counts()[i];
    fmt::format_to(out, "{}_bucket{{le=\"{}\"}} {}\n", name,
                   Histogram::kBounds[i], below);
  }
  below += histogram.counts().back();
  fmt::format_to(out,
                 "{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n",
                 name, below, histogram.sum());
}

}  // namespace muster::gateway
