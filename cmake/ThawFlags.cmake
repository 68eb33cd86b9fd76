# Compiler, linker and cache settings of every target of the build.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")

# What a user's machine lacks must not be found here either: only the distribution's packages count.
list(APPEND CMAKE_IGNORE_PREFIX_PATH /usr/local)

# thaw_flags travels with the libraries: Eigen's alignment follows -march, and bit-equal noise on every device needs
# contraction off. The baseline is x86-64-v3; faster paths are chosen at run time.
add_library(thaw_flags INTERFACE)
target_compile_features(thaw_flags INTERFACE cxx_std_20)
target_compile_options(thaw_flags INTERFACE -march=x86-64-v3 -ffp-contract=off)

# One -fPIC for libraries, the plug-in and programs alike: g++ refuses a precompiled header made with another choice.
add_compile_options(-fPIC -Wall -Wextra "-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=")

if(THAW_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()

find_program(THAW_MOLD mold)
if(THAW_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# ccache sees through a precompiled header only with -fpch-preprocess and these two liberties.
find_program(THAW_CCACHE ccache)
if(THAW_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" ${THAW_CCACHE})
  add_compile_options(-fpch-preprocess)
endif()
