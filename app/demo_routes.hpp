#pragma once

#include "app/demo_control.hpp"
#include "http/message.hpp"

// The demo's own endpoints. The control must outlive the handlers.
namespace muster::app {

http::Handler get_demo(const DemoControl& control);        // GET /api/v1/demo
http::Handler get_demo_truth(const DemoControl& control);  // GET /api/v1/demo/truth
http::Handler post_demo_fault(DemoControl& control);       // POST /api/v1/demo/faults {"kind"}

}  // namespace muster::app
