// What `hadal precision` found, as pages: tables and charts in one HTML file each.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "proof/shadow_check.h"
#include "study/ablation.h"
#include "study/outliers.h"
#include "study/product_errors.h"

namespace hadal {

std::string outliers_page(const std::vector<OutlierRow>& synthetic, const std::vector<TensorRow>& tensors,
                          const std::string& model);

using VariantErrors = std::vector<std::pair<Variant, GradientErrors>>;
std::string errors_page(const VariantErrors& variants, const std::vector<ProductFinding>& products,
                        const std::vector<ProductRow>& synthetic, const std::string& model);

std::string ablation_page(const Ablation& ablation, const std::vector<ProductRow>& synthetic);

double median(std::vector<double> values);  // NaN of none

}  // namespace hadal
