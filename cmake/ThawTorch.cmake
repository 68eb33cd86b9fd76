# libtorch as ThawTorch::torch (the CPU set, what programs link) and ThawTorch::cuda (the plug-in only).
#
# find_package(Torch) is not used: with the CUDA wheel it asks for a CUDA toolkit and, under C++20, for a dialect
# CMake 3.25 does not know. Nothing here needs CUDA; its libraries are opened at run time.
#
# THAW_LIBTORCH (cache variable, else environment) names a folder that holds torch/lib/libtorch_cpu.so (an unpacked
# wheel, a site-packages folder) or lib/libtorch_cpu.so (torch itself, an unpacked libtorch archive).

set(THAW_TORCH_VERSION 2.11.0)

if(NOT THAW_LIBTORCH AND DEFINED ENV{THAW_LIBTORCH})
  set(THAW_LIBTORCH "$ENV{THAW_LIBTORCH}")
elseif(NOT THAW_LIBTORCH)
  # Where ./thaw puts it.
  set(thaw_cache "$ENV{XDG_CACHE_HOME}")
  if(thaw_cache STREQUAL "")
    set(thaw_cache "$ENV{HOME}/.cache")
  endif()
  foreach(kind cuda cpu)
    if(NOT THAW_LIBTORCH AND EXISTS "${thaw_cache}/thaw/libtorch-${THAW_TORCH_VERSION}-${kind}/torch/version.py")
      set(THAW_LIBTORCH "${thaw_cache}/thaw/libtorch-${THAW_TORCH_VERSION}-${kind}")
    endif()
  endforeach()
endif()
if(NOT THAW_LIBTORCH)
  message(FATAL_ERROR "Thaw: libtorch ${THAW_TORCH_VERSION} was not found. Run ./thaw, which fetches it, or name a "
    "folder that holds torch/lib/libtorch_cpu.so with -DTHAW_LIBTORCH=FOLDER")
endif()
set(THAW_LIBTORCH "${THAW_LIBTORCH}" CACHE PATH "Folder that holds torch/lib/libtorch_cpu.so or lib/libtorch_cpu.so")

get_filename_component(thaw_torch_root "${THAW_LIBTORCH}" ABSOLUTE)
if(EXISTS "${thaw_torch_root}/torch/lib/libtorch_cpu.so")
  string(APPEND thaw_torch_root "/torch")
elseif(NOT EXISTS "${thaw_torch_root}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "Thaw: THAW_LIBTORCH=${THAW_LIBTORCH} holds neither torch/lib/libtorch_cpu.so nor "
    "lib/libtorch_cpu.so")
endif()

set(thaw_torch_found "unknown")
if(EXISTS "${thaw_torch_root}/version.py")
  file(STRINGS "${thaw_torch_root}/version.py" thaw_torch_line REGEX "^__version__")
  string(REGEX REPLACE ".*'([^']+)'.*" "\\1" thaw_torch_found "${thaw_torch_line}")
elseif(EXISTS "${thaw_torch_root}/build-version")
  file(STRINGS "${thaw_torch_root}/build-version" thaw_torch_found LIMIT_COUNT 1)
endif()
if(NOT thaw_torch_found MATCHES "^2\\.11\\.0($|[+])")
  message(FATAL_ERROR "Thaw: ${thaw_torch_root} holds libtorch ${thaw_torch_found}; ${THAW_TORCH_VERSION} is needed")
endif()

if(NOT TARGET ThawTorch::torch)
  foreach(part c10 torch_cpu)
    add_library(ThawTorch::${part} SHARED IMPORTED)
    set_target_properties(ThawTorch::${part} PROPERTIES IMPORTED_LOCATION "${thaw_torch_root}/lib/lib${part}.so")
  endforeach()
  add_library(ThawTorch::torch INTERFACE IMPORTED)
  # SYSTEM: libtorch's headers do not pass -Wextra. The C++11 ABI is the only one built since 2.7.
  target_include_directories(ThawTorch::torch SYSTEM INTERFACE
    "${thaw_torch_root}/include" "${thaw_torch_root}/include/torch/csrc/api/include")
  target_compile_definitions(ThawTorch::torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
  # Never -fopenmp beside it: libtorch brings its own libgomp, and a second team ruins both.
  target_link_libraries(ThawTorch::torch INTERFACE ThawTorch::torch_cpu ThawTorch::c10)
  # The wheel keeps libcupti and libcudart here; libtorch_cpu.so needs both also where no CUDA device is.
  get_filename_component(thaw_nvidia "${thaw_torch_root}/../nvidia/cu13" ABSOLUTE)
  if(EXISTS "${thaw_nvidia}/lib")
    target_link_options(ThawTorch::torch INTERFACE "LINKER:-rpath,${thaw_nvidia}/lib")
  endif()
endif()

if(NOT TARGET ThawTorch::cuda)
  add_library(ThawTorch::cuda INTERFACE IMPORTED)
  target_include_directories(ThawTorch::cuda SYSTEM INTERFACE "${thaw_nvidia}/include")
  target_link_libraries(ThawTorch::cuda INTERFACE ThawTorch::torch)
endif()
message(STATUS "Thaw: libtorch ${thaw_torch_found} in ${thaw_torch_root}")
