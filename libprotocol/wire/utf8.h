// UTF-8, where bytes from outside become text.

#ifndef MUSTER_LIBPROTOCOL_WIRE_UTF8_H_
#define MUSTER_LIBPROTOCOL_WIRE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace muster::wire {

// Bytes of the character at the front of `text`, 1 … 4; 0 if there is none:
// overlong forms, surrogates and values beyond U+10FFFF are none.
inline size_t Utf8Length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) -> uint32_t {
    return static_cast<unsigned char>(text[i]);
  };
  if (byte(0) < 0x80) return 1;
  const size_t length = byte(0) >= 0xf0   ? 4
                        : byte(0) >= 0xe0 ? 3
                        : byte(0) >= 0xc2 ? 2
                                          : 0;
  if (length == 0 || text.size() < length) return 0;
  uint32_t point = byte(0) & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3f);
  }
  if (length == 3 && (point < 0x800 || (point >= 0xd800 && point < 0xe000))) {
    return 0;
  }
  if (length == 4 && (point < 0x10000 || point > 0x10ffff)) return 0;
  return length;
}

// How many bytes at the front of `text` are UTF-8.
inline size_t Utf8Prefix(std::string_view text) {
  size_t at = 0;
  while (const size_t length = Utf8Length(text.substr(at))) at += length;
  return at;
}

inline bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// The longest front of `text` with at most `bytes_max` bytes that does not
// split a character.
inline std::string_view ClipUtf8(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 &&
         (static_cast<unsigned char>(text[bytes_max]) & 0xc0) == 0x80) {
    --bytes_max;
  }
  return text.substr(0, bytes_max);
}

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_UTF8_H_
