// See gather_findings.h.
#include "data/gather_findings.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "comm/byte_text.h"

namespace hadal::data {
namespace {

constexpr int64_t kAtOnce = 1 << 15;       // documents of a message
constexpr int64_t kMessagesOnTheWay = 16;  // to each rank, which keeps them until it takes them

template <class T>
Share share_of(std::vector<T>& values) {
  return {std::as_writable_bytes(std::span(values))};
}

template <class Archive, class File>
void visit_read(Archive& archive, File& file) {  // what reading it told
  archive(file.hash), archive(file.n_documents), archive(file.skipped), archive(file.notes);
}

void write_told(ByteWriter& out, const SourceFile& file) {
  visit_read(out, file);
  out(file.form ? int32_t(*file.form) : int32_t(-1));
  out(int64_t(file.bad_lines.size()));
  for (const BadLine& bad : file.bad_lines) out(bad.line), out(bad.reason);
}

void read_told(ByteReader& in, SourceFile& file) {
  visit_read(in, file);
  int32_t form = -1;
  int64_t n_bad = 0;
  in(form), in(n_bad);
  if (form >= 0) file.form = Form(form);
  file.bad_lines.resize(size_t(n_bad));
  for (BadLine& bad : file.bad_lines) in(bad.line), in(bad.reason);
}

// What a rank found beside its documents.
struct OfRank {
  std::vector<std::string> rules;
  std::vector<FileCounts> files;
  int64_t n_documents = 0;
};

std::vector<OfRank> exchange_files(Group& ranks, const FileShares& shares, const Findings& own,
                                   std::vector<SourceFiles>& sources) {
  if (ranks.size() == 1) return {{own.rules, own.files, int64_t(own.documents.size())}};
  ByteWriter out;
  out(own.rules), out(own.files), out(int64_t(own.documents.size()));
  for (const FilePlace& place : shares.of_rank(ranks.rank())) write_told(out, sources[place.source].files[place.file]);
  const std::vector<std::string> texts = ranks.exchange(out.text);
  std::vector<OfRank> all(texts.size());
  for (int rank = 0; rank < ranks.size(); ++rank) {
    ByteReader in(texts[size_t(rank)]);
    OfRank& of = all[size_t(rank)];
    in(of.rules), in(of.files), in(of.n_documents);
    for (const FilePlace& place : shares.of_rank(rank)) read_told(in, sources[place.source].files[place.file]);
  }
  return all;
}

void send_documents(Group& ranks, std::deque<Finding> documents) {
  while (!documents.empty()) {
    const auto end = documents.begin() + std::min<int64_t>(kAtOnce, int64_t(documents.size()));
    std::vector<Finding> some(documents.begin(), end);
    documents.erase(documents.begin(), end);
    ranks.send(0, DType::u8, share_of(some));
  }
}

// On the first rank: the findings of one rank, its own or another's, one after another.
class FindingStream {
 public:
  FindingStream(Group& ranks, int from, int64_t n_documents) : ranks_(ranks), from_(from), left_(n_documents) {}
  explicit FindingStream(Group& ranks, std::deque<Finding> own) : ranks_(ranks), here_(std::move(own)) {}

  Finding next() {
    if (here_.empty()) receive();
    const Finding found = here_.front();
    here_.pop_front();
    return found;
  }

 private:
  void receive() {
    std::vector<Finding> some(size_t(std::min(kAtOnce, left_)));
    ranks_.start_receive(from_, DType::u8, share_of(some)).wait();
    left_ -= int64_t(some.size());
    here_.assign(some.begin(), some.end());
  }

  Group& ranks_;
  int from_ = 0;
  int64_t left_ = 0;
  std::deque<Finding> here_;
};

void enter_all(Group& ranks, const FileShares& shares, const std::vector<OfRank>& found, std::deque<Finding> own,
               std::vector<SourceFiles>& sources, CorpusLedger& ledger) {
  std::vector<FindingStream> streams;
  streams.emplace_back(ranks, std::move(own));
  for (int rank = 1; rank < ranks.size(); ++rank) streams.emplace_back(ranks, rank, found[size_t(rank)].n_documents);
  std::vector<size_t> files(streams.size());  // taken of each rank's
  for (size_t s = 0; s < sources.size(); ++s) {
    ledger.begin_source(s);
    for (size_t f = 0; f < sources[s].files.size(); ++f) {
      SourceFile& file = sources[s].files[f];
      const auto rank = size_t(shares.rank_of({s, f}));
      for (int64_t d = 0; d < file.n_documents; ++d) ledger.take(s, streams[rank].next(), found[rank].rules);
      ledger.take_file(s, file, found[rank].files[files[rank]++]);
    }
  }
  ledger.finish();
}

// To all, who wait for each other now and then: nobody is sent more than it can keep.
void tell_facts(Group& ranks, CorpusLedger& ledger) {
  ranks.start_broadcast(0, DType::u8, share_of(ledger.first_document)).wait();
  ledger.facts.resize(size_t(ledger.first_document.back()));
  int64_t messages = 0;
  for (auto at = ledger.facts.begin(); at != ledger.facts.end(); ++messages) {
    const auto end = at + std::min<int64_t>(kAtOnce, ledger.facts.end() - at);
    std::vector<DocumentFacts> some(at, end);
    ranks.start_broadcast(0, DType::u8, share_of(some)).wait();
    if (!ranks.leads()) std::copy(some.begin(), some.end(), at);
    at = end;
    if (messages % kMessagesOnTheWay == kMessagesOnTheWay - 1) ranks.barrier();
  }
}

template <class Archive, class Of>
void visit_suspect(Archive& archive, Of& one) {
  archive(one.suspect.document), archive(one.suspect.bytes), archive(one.suspect.source), archive(one.suspect.rule);
  archive(one.met);
}

}  // namespace

void tell_sources(Group& ranks, std::vector<SourceFiles>& sources) {
  if (ranks.size() == 1) return;
  ByteWriter out;
  out(int64_t(sources.size()));
  for (const SourceFiles& source : sources) {
    out(source.name), out(source.text_field), out(source.format), out(source.left_out);
    out(int64_t(source.files.size()));
    for (const SourceFile& file : source.files) out(file.path), out(file.bytes), out(file.modified_ns);
  }
  const std::string told = ranks.tell(0, out.text);
  if (ranks.leads()) return;
  ByteReader in(told);
  int64_t n = 0;
  in(n);
  sources.assign(size_t(n), {});
  for (SourceFiles& source : sources) {
    in(source.name), in(source.text_field), in(source.format), in(source.left_out), in(n);
    source.files.resize(size_t(n));
    for (SourceFile& file : source.files) in(file.path), in(file.bytes), in(file.modified_ns);
  }
}

void gather_findings(Group& ranks, const FileShares& shares, Findings own, std::vector<SourceFiles>& sources,
                     CorpusLedger& ledger) {
  const std::vector<OfRank> found = exchange_files(ranks, shares, own, sources);
  if (ranks.leads()) {
    enter_all(ranks, shares, found, std::move(own.documents), sources, ledger);
  } else {
    send_documents(ranks, std::move(own.documents));
  }
  if (ranks.size() > 1) tell_facts(ranks, ledger);
}

std::vector<MetSuspect> gather_suspects(Group& ranks, const std::vector<MetSuspect>& own) {
  ByteWriter out;
  out(int64_t(own.size()));
  for (const MetSuspect& one : own) visit_suspect(out, one);
  std::vector<MetSuspect> all;
  for (const std::string& text : ranks.exchange(out.text)) {
    ByteReader in(text);
    int64_t n = 0;
    in(n);
    for (int64_t i = 0; i < n; ++i) visit_suspect(in, all.emplace_back());
  }
  std::sort(all.begin(), all.end(),
            [](const MetSuspect& a, const MetSuspect& b) { return a.suspect.document < b.suspect.document; });
  return all;
}

}  // namespace hadal::data
