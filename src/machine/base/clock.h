// Time: a steady clock for measuring, the wall clock for dates.
#pragma once
#include <string>

namespace hadal {

double steady_seconds();                      // since some fixed moment of this process; never goes back
std::string format_duration(double seconds);  // "0.84s", "12.3s", "3m12s", "2h05m", "3d04h"
std::string iso_time();                       // now, UTC: "2026-01-31T12:34:56Z"
std::string clock_time();                     // now, local: "12:34:56"

}  // namespace hadal
