#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace thaw {

/// Base64 with padding (RFC 4648, section 4), for data: addresses.
std::string encode_base64(std::span<const std::byte> bytes);

}  // namespace thaw
