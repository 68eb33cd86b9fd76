// The memory count of tests/io, for this binary.
#include "tests/io/allocation.cpp"
