#pragma once
// Catch2, version 2 (Debian 12) or 3, with every macro prefixed: libtorch defines CHECK too.
// Write CATCH_TEST_CASE, CATCH_SECTION, CATCH_CHECK, CATCH_REQUIRE, CATCH_CAPTURE, Catch::Approx.

#define CATCH_CONFIG_PREFIX_ALL
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
namespace Catch {
using Detail::Approx;
}
#endif
