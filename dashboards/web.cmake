# Builds the pages and turns them into a C++ source, ${web_assets}. npm fetches what package-lock.json names,
# and nothing else; it runs again only when that file changes.
find_program(NODE NAMES node nodejs)
find_program(NPM npm)
if(NOT NODE OR NOT NPM)
  message(FATAL_ERROR "The pages need node (18.19 or newer) and npm: install the Debian packages nodejs and npm, "
                      "or configure with -DMUSTER_WEB=OFF to leave the pages out.")
endif()

set(web ${CMAKE_CURRENT_SOURCE_DIR}/web)
set(web_installed ${web}/node_modules/.installed)
add_custom_command(OUTPUT ${web_installed}
  COMMAND ${NPM} ci --include=dev --no-audit --no-fund --prefer-offline
  COMMAND ${CMAKE_COMMAND} -E touch ${web_installed}
  DEPENDS ${web}/package.json ${web}/package-lock.json ${web}/.npmrc
  WORKING_DIRECTORY ${web} COMMENT "dashboards/web: npm ci" VERBATIM)

file(GLOB_RECURSE web_sources CONFIGURE_DEPENDS ${web}/src/* ${web}/public/*)
set(web_dist ${CMAKE_CURRENT_BINARY_DIR}/dist)
set(web_assets ${CMAKE_CURRENT_BINARY_DIR}/assets.cpp)
add_custom_command(OUTPUT ${web_assets}
  COMMAND ${NODE} ${web}/node_modules/vite/bin/vite.js build --logLevel warn --outDir ${web_dist} --emptyOutDir
  COMMAND ${NODE} ${web}/embed.mjs ${web_dist} ${web_assets}
  DEPENDS ${web_installed} ${web_sources} ${web}/index.html ${web}/vite.config.ts ${web}/tsconfig.json ${web}/embed.mjs
  WORKING_DIRECTORY ${web} COMMENT "dashboards/web: vite build" VERBATIM)
