# Finds oneDNN by its header and library and makes the target DNNL::dnnl. oneDNN's own CMake package isn't used: where
# the library was built for GPUs as well, it demands OpenCL's development files, which nothing here needs.
find_path(DNNL_INCLUDE_DIR dnnl.h)
find_library(DNNL_LIBRARY dnnl)
mark_as_advanced(DNNL_INCLUDE_DIR DNNL_LIBRARY)

foreach(header dnnl_version.h oneapi/dnnl/dnnl_version.h) # the first only includes the second
  if(EXISTS "${DNNL_INCLUDE_DIR}/${header}")
    file(STRINGS "${DNNL_INCLUDE_DIR}/${header}" lines REGEX "#define +DNNL_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
    foreach(line ${lines})
      string(REGEX MATCH "DNNL_VERSION_(MAJOR|MINOR|PATCH) +([0-9]+)" line "${line}")
      set(dnnl_${CMAKE_MATCH_1} ${CMAKE_MATCH_2})
    endforeach()
  endif()
endforeach()
if(DEFINED dnnl_MAJOR)
  set(DNNL_VERSION ${dnnl_MAJOR}.${dnnl_MINOR}.${dnnl_PATCH})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DNNL REQUIRED_VARS DNNL_LIBRARY DNNL_INCLUDE_DIR VERSION_VAR DNNL_VERSION)
if(DNNL_FOUND AND NOT TARGET DNNL::dnnl)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION "${DNNL_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE_DIR}")
endif()
