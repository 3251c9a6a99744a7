// hadal report: one self-contained HTML page about a run, about all phases of one, or about two beside each other.
#include "train/report.h"
#include "apps/cli.h"
#include "base/files.h"
#include "checkpoint/phase_record.h"
#include "phases/phase_report.h"

namespace hadal {

void add_report(Verb root, Cli& cli) {
  struct ReportOptions {
    std::vector<std::string> runs;
    std::string output;
  };
  auto o = std::make_shared<ReportOptions>();
  Verb verb =
      root.add_verb("report", "Write a page about one run, or two beside each other: curves, load, speed, samples");
  verb.add_option("run", o->runs,
                  "run directories, one or two; of one with phases all of them on one axis, RUN:NAME is one phase")
      .required()
      .values(1, 2);
  verb.add_option("--output,-o", o->output, "HTML file; default RUN/report.html");
  verb.add_examples({"hadal report runs/shakespeare", "hadal report runs/a runs/b -o compare.html",
                     "hadal report runs/life                         (all phases)",
                     "hadal report runs/life:base runs/life:longer   (two of them beside each other)"});
  cli.on(verb, [o] {
    namespace fs = std::filesystem;
    const bool all_phases = o->runs.size() == 1 && fs::exists(fs::path(o->runs[0]) / kPhasesFile);
    std::vector<fs::path> runs;
    for (const std::string& run : o->runs)
      runs.push_back(all_phases ? fs::path(run) : phase_run(run).value_or(fs::path(run)));
    const std::string output = o->output.empty() ? (runs[0] / "report.html").string() : o->output;
    atomic_write(output, all_phases ? phase_report_html(runs[0]) : report_html(runs));
    fmt::print("{}\n", output);
    return kExitFine;
  });
}

}  // namespace hadal
