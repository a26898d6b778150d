#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "app/server.hpp"
#include "base/result.hpp"

namespace CLI {
class App;
}

namespace muster::app {

// The flags that every command that serves has. They say where things are; the config says what they do.
struct ServeFlags {
  std::string config;  // empty: none
  std::filesystem::path data_dir = "data";
  std::string listen;  // ADDRESS:PORT; empty: the config's
};

// --config, --data-dir and --listen.
void add_serve_flags(CLI::App& command, const std::shared_ptr<ServeFlags>& flags);

// The config that the flags name, with the flags on top, as a server wants it. Reads files; the Error has a
// line for each fault.
Result<ServerSettings> server_settings(const ServeFlags& flags);

}  // namespace muster::app
