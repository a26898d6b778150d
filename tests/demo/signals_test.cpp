#include "app/signals.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

using namespace muster::app;

TEST_CASE("a signal asks to stop, whatever threads there are") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::signal(SIGINT, SIG_DFL);  // a shell may have had it ignored
      std::atomic<bool> stopped = false;
      {
        const HoldSignals hold;
        // Like a server's pool: there before anybody waits for signals.
        std::thread other([&] {
          for (int i = 0; i < 10'000 && !stopped; ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
        {
          const StopOnSignal stop([&] { stopped = true; });
          kill(getpid(), signal);
          other.join();
        }
      }
      _exit(stopped ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
}
