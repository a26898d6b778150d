# A module is a folder, a namespace and a target of one name:
#
#   muster_module(aggregator SOURCES evaluate.cpp PUBLIC muster::schema PRIVATE TBB::tbb)
#
# gives the library muster_aggregator with the alias muster::aggregator. PUBLIC is what its headers show.
# The layering test (tests/layering) compares these lists with the includes.
function(muster_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  if(arg_SOURCES)
    add_library(muster_${name} STATIC ${arg_SOURCES})
    target_include_directories(muster_${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(muster_${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  else()
    add_library(muster_${name} INTERFACE)
    target_include_directories(muster_${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(muster_${name} INTERFACE ${arg_PUBLIC})
  endif()
  add_library(muster::${name} ALIAS muster_${name})
endfunction()

# muster_test(router SOURCES group_test.cpp LINK muster::router LABEL unit) builds tests/<folder>/ into one
# program, test_router, and registers it with ctest. LABEL is unit, integration or e2e.
function(muster_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(test_${name} ${arg_SOURCES})
  target_link_libraries(test_${name} PRIVATE muster_test_main ${arg_LINK})
  target_compile_definitions(test_${name} PRIVATE MUSTER_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND test_${name})
  set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT})
  if(arg_LABEL STREQUAL unit)
    add_dependencies(unit_tests test_${name})
  endif()
endfunction()
