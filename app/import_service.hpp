#pragma once

#include <functional>
#include <memory>
#include <string>

#include "app/pipeline.hpp"
#include "http/routes.hpp"
#include "schema/store/ingestor.hpp"

namespace muster::app {

// Takes the history of a fleet that is new here: samples of any age, stored as all others are, but no tick is made
// of them when they come (pipeline.hpp). When all is there, the aggregator learns from it.
//
//   GET  /api/v1/import?source=S            how far S is
//   POST /api/v1/import?source=S&cursor=C   samples; once they are stored, S is at C
//   POST /api/v1/import/learn?pages_from=T  learn from all that is stored
//   GET  /api/v1/import/learn               how far that is
//
// It has an ingestor of its own while it is in use, so that live samples do not wait for old ones. One request at a
// time, on a thread of its own.
class ImportService {
 public:
  struct Settings {
    std::string control_dsn;
    std::string data_dsn;
    store::Ingestor::Settings ingest;  // its collector is chosen at the first request
  };

  // clock      arrival time
  // committed  as Ingestor's; called from its threads
  ImportService(Settings settings, Pipeline& pipeline, store::Ingestor::Clock clock,
                store::Ingestor::Committed committed);
  ~ImportService();
  ImportService(const ImportService&) = delete;
  ImportService& operator=(const ImportService&) = delete;

  // The handlers are for the I/O thread.
  void add_routes(http::Routes& routes);
  // Finishes the request at hand. Blocks.
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace muster::app
