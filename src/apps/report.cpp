// hadal report: one self-contained HTML page about a run, or about two beside each other.
#include "train/report.h"
#include "apps/cli.h"
#include "base/files.h"

namespace hadal {

void add_report(Verb root, Cli& cli) {
  struct ReportOptions {
    std::vector<std::string> runs;
    std::string output;
  };
  auto o = std::make_shared<ReportOptions>();
  Verb verb =
      root.add_verb("report", "Write a page about one run, or two beside each other: curves, load, speed, samples");
  verb.add_option("run", o->runs, "run directories, one or two").required().values(1, 2);
  verb.add_option("--output,-o", o->output, "HTML file; default RUN/report.html");
  verb.add_examples({"hadal report runs/shakespeare", "hadal report runs/a runs/b -o compare.html"});
  cli.on(verb, [o] {
    const std::string output = o->output.empty() ? o->runs[0] + "/report.html" : o->output;
    atomic_write(output, report_html({o->runs.begin(), o->runs.end()}));
    fmt::print("{}\n", output);
    return kExitFine;
  });
}

}  // namespace hadal
