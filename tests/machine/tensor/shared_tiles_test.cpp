// Parts of a matrix that ranks hold have the codes and scales of the whole matrix, wherever it is cut.
#include "tensor/shared_tiles.h"

#include <gtest/gtest.h>

#include <barrier>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "base/random.h"

namespace hadal {
namespace {

Tensor random(const Exec& exec, Shape shape, DType dtype) {
  const Tensor t = Tensor::empty(exec, dtype, std::move(shape));
  for (int64_t i = 0; i < t.count(); ++i) {
    const double size = std::exp2(double(int64_t(random_below(5, 1, uint64_t(i), 13)) - 6));
    set_element(t, i, size * random_normal(3, 1, uint64_t(i)));
  }
  return t;
}

// Holders of parts as threads, each of which waits for the others where they exchange maxima.
class Holders {
 public:
  Holders(int axis, std::vector<int64_t> ends) : axis_(axis), ends_(std::move(ends)), barrier_(int64_t(ends_.size())) {
    board_.resize(ends_.size());
  }
  template <class F>
  void run(F&& f) {
    std::vector<std::thread> threads;
    for (int part = 0; part < int(ends_.size()); ++part) {
      threads.emplace_back([&, part] {
        OwnedExec owned(1);
        f(owned.exec, CutMatrix{axis_, ends_, part, [&, part](const auto& to) { return exchange(part, to); }});
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  int exchanges() const { return exchanges_; }

 private:
  std::vector<CutMatrix::Maxima> exchange(int part, const std::vector<CutMatrix::Maxima>& to) {
    board_[size_t(part)] = to;
    barrier_.arrive_and_wait();
    std::vector<CutMatrix::Maxima> from;
    for (const auto& sent : board_) from.push_back(sent[size_t(part)]);
    if (part == 0) ++exchanges_;
    barrier_.arrive_and_wait();
    return from;
  }
  int axis_, exchanges_ = 0;
  std::vector<int64_t> ends_;
  std::barrier<> barrier_;
  std::vector<std::vector<CutMatrix::Maxima>> board_;
};

Tensor along(const Tensor& t, int axis, int64_t first, int64_t count) {
  return axis == 0 ? t.row_range(first, count) : t.col_range(first, count);
}

std::vector<uint8_t> bytes_of(const Tensor& tensor) {
  std::vector<uint8_t> bytes;
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    const auto* row = static_cast<const uint8_t*>(tensor.row_range(r, 1).raw());
    bytes.insert(bytes.end(), row, row + tensor.cols() * dtype_bytes(tensor.dtype()));
  }
  return bytes;
}

struct How {
  Tile tile;
  ScaleRule rule = ScaleRule::exact;
  AmaxFloor floor = AmaxFloor::none;
  bool e5m6 = false;
};

Quantised room_for(const Exec& exec, const Tensor& x, const How& how, TileOrigin origin) {
  return how.e5m6 ? Quantised::empty_e5m6(exec, x.shape(), x.dtype(), origin)
                  : Quantised::empty(exec, x.shape(), how.tile, x.dtype(), how.rule, scale_type(how.rule), origin);
}

// Codes, scales and values of every part of x, cut at `ends`, are those of the whole.
void expect_parts_of_the_whole(const Tensor& x, int axis, const std::vector<int64_t>& ends, const How& how) {
  OwnedExec owned(1);
  const Quantised whole = room_for(owned.exec, x, how, {});
  quantise(owned.exec, whole, x, how.floor);
  const Tensor values = Tensor::empty(owned.exec, DType::f32, x.shape());
  dequantise(owned.exec, values, whole);
  Holders holders(axis, ends);
  std::vector<int> good(ends.size());
  holders.run([&](const Exec& exec, const CutMatrix& cut) {
    const int64_t begin = cut.begin(), count = cut.end() - begin, tile = cut.along(how.tile);
    const Tensor own = along(x, axis, begin, count);
    const Quantised part = room_for(exec, own, how, cut.origin(how.tile));
    quantise(exec, part, own, how.floor, &cut);
    const Tensor back = Tensor::empty(exec, DType::f32, own.shape());
    dequantise(exec, back, part);
    const int64_t first_tile = begin / tile, tiles = (cut.end() + tile - 1) / tile - first_tile;
    good[size_t(cut.part)] = (bytes_of(part.codes) == bytes_of(along(whole.codes, axis, begin, count)) ? 1 : 0) +
                             (bytes_of(part.scales) == bytes_of(along(whole.scales, axis, first_tile, tiles)) ? 2 : 0) +
                             (bytes_of(back) == bytes_of(along(values, axis, begin, count)) ? 4 : 0);
  });
  for (size_t part = 0; part < good.size(); ++part)
    EXPECT_EQ(good[part], 7) << "part " << part << ", cut along " << axis << ", tiles of " << how.tile.rows << " x "
                             << how.tile.cols << (how.e5m6 ? ", E5M6" : "");
}

const std::vector<How> kForms = {{kRowTile},
                                 {kRowTile, ScaleRule::power_of_two},
                                 {kSquareTile, ScaleRule::exact, AmaxFloor::released},
                                 {kColumnTile},
                                 {kMxRowTile, ScaleRule::power_of_two},
                                 {kMxRowTile, ScaleRule::ocp},
                                 {kMxColumnTile, ScaleRule::power_of_two, AmaxFloor::released},
                                 {Tile{64, 64}}};

TEST(CutMatrix, PartsHaveTheCodesOfTheWholeWhereverTheyAreCut) {
  OwnedExec owned(1);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const Tensor x = random(owned.exec, {150, 310}, dtype);
    for (const How& how : kForms) {
      expect_parts_of_the_whole(x, 0, {75, 150}, how);
      expect_parts_of_the_whole(x, 0, {1, 128, 129, 150}, how);
      expect_parts_of_the_whole(x, 1, {155, 310}, how);
      expect_parts_of_the_whole(x, 1, {20, 45, 60, 127, 300, 310}, how);  // four in one tile, one over three
      expect_parts_of_the_whole(x, 1, {128, 310}, how);
    }
    expect_parts_of_the_whole(x, 1, {20, 46, 60, 126, 300, 310}, {kRowTile, ScaleRule::power_of_two, {}, true});
    expect_parts_of_the_whole(x, 1, {156, 310}, {kRowTile, ScaleRule::power_of_two, {}, true});
  }
}

// A scale is that of the largest number whatever is beside it: zeros, a NaN, an infinity of another part.
TEST(CutMatrix, ZerosAndWhatIsNotFiniteAreThoseOfTheWhole) {
  OwnedExec owned(1);
  for (const double odd : {0.0, double(NAN), double(INFINITY), 3e38, 1e-42}) {
    const Tensor x = Tensor::zeros(owned.exec, DType::f32, {4, 100});
    set_element(x, 30, odd), set_element(x, 170, 0.5);
    for (const How& how : {How{kRowTile}, How{kSquareTile}, How{kRowTile, ScaleRule::power_of_two, {}, true}})
      expect_parts_of_the_whole(x, 1, {24, 60, 100}, how);
  }
}

TEST(CutMatrix, HoldersSpeakOnlyWhereATileIsCut) {
  OwnedExec owned(1);
  const Tensor x = random(owned.exec, {3, 256}, DType::f32);
  Holders holders(1, {128, 256});
  holders.run([&](const Exec& exec, const CutMatrix& cut) {
    for (const Tile tile : {kRowTile, kMxRowTile, kSquareTile}) {
      const Tensor own = x.col_range(cut.begin(), 128);
      quantise(exec, Quantised::empty(exec, own.shape(), tile, own.dtype()), own, AmaxFloor::none, &cut);
    }
  });
  EXPECT_EQ(holders.exchanges(), 0);
}

TEST(CutMatrix, ColumnsOfHeadsAreCutWhereTheHeadsAre) {
  const CutMatrix rows{0, {24, 48, 60}, 1, {}};
  const CutMatrix columns = rows.columns(12, 7);
  EXPECT_EQ(columns.ends, (std::vector<int64_t>{14, 28, 35}));
  EXPECT_EQ(columns.axis, 1);
  EXPECT_EQ(columns.begin(), 14);
  EXPECT_EQ(columns.end(), 28);
}

}  // namespace
}  // namespace hadal
