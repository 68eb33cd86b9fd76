#include "core/bad_data.h"

#include <set>

#include "tests/catch.h"

using namespace thaw;

namespace {

BadData policy(const std::string& yaml) {
  return BadData(Config::parse(yaml, "t").read(bad_data_options(), "dataset"), "things");
}

std::string name_of(std::int64_t i) {
  return concat("item ", i);
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

/// Six items, of which some cannot be read.
struct Items {
  std::set<std::int64_t> bad{1, 2, 5};
  std::int64_t operator()(std::int64_t i) const {
    if (bad.contains(i)) throw DataError(concat("f", i, ": cannot read it"));
    return i;
  }
};

}  // namespace

CATCH_TEST_CASE("the first bad item ends the run unless it is told otherwise", "[core][bad_data]") {
  const BadData bad = policy("{}");
  CATCH_CHECK(bad.ends_the_run());
  CATCH_CHECK(bad.read(0, 6, Items(), name_of) == 0);
  CATCH_CHECK(message_of([&] { bad.read(1, 6, Items(), name_of); }) == "f1: cannot read it");
  CATCH_CHECK(bad.kept(6, Items(), name_of).size() == 6);
  CATCH_CHECK(bad.found().empty());
}

CATCH_TEST_CASE("the next good item stands in for a bad one, whatever was read before", "[core][bad_data]") {
  const BadData bad = policy("on_bad: substitute");
  const std::vector<std::int64_t> expected{0, 3, 3, 3, 4, 0};
  for (const std::int64_t first : {0, 5, 3})
    for (std::int64_t k = 0; k < 6; ++k) {
      const std::int64_t i = (first + k) % 6;
      CATCH_CHECK(bad.read(i, 6, Items(), name_of) == expected[static_cast<std::size_t>(i)]);
    }
  CATCH_CHECK(bad.found() ==
              std::vector<std::string>{"f1: cannot read it", "f2: cannot read it", "f5: cannot read it"});
  CATCH_CHECK(message_of([&] {
                bad.read(0, 2, Items{{0, 1}}, name_of);
              }) == "dataset: none of its 2 things can be read.");
}

CATCH_TEST_CASE("bad items are left out on opening, and counted once", "[core][bad_data]") {
  const BadData bad = policy("on_bad: skip");
  CATCH_CHECK(bad.kept(6, Items(), name_of) == std::vector<std::int64_t>{0, 3, 4});
  for (int again = 0; again < 3; ++again) CATCH_CHECK(bad.read(1, 6, Items(), name_of) == 3);
  CATCH_CHECK(bad.found().size() == 3);
}

CATCH_TEST_CASE("more bad items than allowed end the run with the last cause and the limit", "[core][bad_data]") {
  const BadData bad = policy("\n\n{on_bad: substitute, bad_limit: 1}");
  CATCH_CHECK(message_of([&] { bad.read(1, 6, Items(), name_of); }) ==
              "f2: cannot read it; that makes 2 bad things, and t:3: bad_limit is 1.");
  CATCH_CHECK(message_of([&] { policy("{on_bad: skip, bad_limit: 2}").kept(6, Items(), name_of); }) ==
              "f5: cannot read it; that makes 3 bad things, and t:1: bad_limit is 2.");
  CATCH_CHECK(policy("{on_bad: skip, bad_limit: 3}").kept(6, Items(), name_of).size() == 3);
}

CATCH_TEST_CASE("what is no fault of the data passes through", "[core][bad_data]") {
  const BadData bad = policy("on_bad: substitute");
  const auto no_memory = [](std::int64_t) -> std::int64_t { throw ResourceError("no memory"); };
  CATCH_CHECK_THROWS_AS(bad.read(0, 6, no_memory, name_of), ResourceError);
}
